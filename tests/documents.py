"""The project's documents, taken apart: headings, links, and the commands that stand in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[1]
COMMAND_TAGS = ("", "sh")  # of fenced blocks; output is tagged `text`


@attrs.frozen
class Block:
    """A fenced block."""

    tag: str
    text: str


@attrs.frozen
class Document:
    """One Markdown file, or a part of it. Knows as much of Markdown as we write."""

    path: Path
    text: str = attrs.field()

    @text.default
    def _read(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.is_file() else ""

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def blocks(self) -> list[Block]:
        found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", self.text, flags=re.MULTILINE | re.DOTALL)
        return [Block(tag, text) for tag, text in found]

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return re.sub(r"^ *```.*?^ *```$", "", self.text, flags=re.MULTILINE | re.DOTALL)

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^#+ .+$", self.prose, flags=re.MULTILINE)

    @property
    def anchors(self) -> set[str]:
        """What a link to one of its headings may name, as GitHub makes it."""
        titles = (heading.lstrip("# ").lower() for heading in self.headings)
        return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}

    @property
    def links(self) -> list[str]:
        """Where it points to, within the project."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose)
        return [target for target in targets if "://" not in target]

    @property
    def commands(self) -> list[list[str]]:
        """Each command of its fenced blocks, in words, without the shell's own."""
        texts = [block.text for block in self.blocks if block.tag in COMMAND_TAGS]
        return [words for text in texts for words in commands_of(text)]

    @property
    def spans(self) -> list[str]:
        """What stands in backticks within a line."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def section(self, number: int) -> "Document":
        """Return one of its numbered sections."""
        found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", self.text, flags=re.MULTILINE | re.DOTALL)
        assert found is not None, f"{self.name} has no section {number}"
        return Document(self.path, found[0])


def commands_of(text: str) -> Iterator[list[str]]:
    """Split a shell's text into commands: no comments, redirections or pipes."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        is_file = False
        for word in lexer:
            if set(word) <= set("|&;"):
                yield from _without_prefix(words)
                words = []
            elif set(word) <= set("<>"):
                is_file = True
            elif is_file:
                is_file = False
            else:
                words.append(word)
        yield from _without_prefix(words)


def _without_prefix(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z_]+=\S*", words[0])):
        words = words[1:]
    if words:
        yield words


def marketd_words(command: list[str]) -> list[str] | None:
    """Return the words given to `marketd`, in a container too; None where it is another command."""
    if command[:2] == ["docker", "compose"]:
        if command[2] not in ("exec", "run"):
            return None
        last = len(command) - 1 - command[::-1].index("marketd")
        return command[last + 1 :]
    return command[1:] if Path(command[0]).name == "marketd" else None


def documents(*patterns: str) -> list[Document]:
    """Return the documents of these names, each once."""
    return [Document(path) for path in sorted({path for each in patterns for path in ROOT.glob(each)})]
