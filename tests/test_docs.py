import contextlib
import importlib
import io
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from documents import ROOT, Document, commands_of, documents, marketd_words

from supervisor.cli import COMMANDS, run_command

ALL = documents("*.md", "docs/*.md")
# What tells an operator what to type.
FOR_OPERATORS = [each for each in ALL if each.name not in ("ARCHITECTURE.md", "CHANGELOG.md")]
# Documents that are whole in both languages.
PAIRS = [("docs/guide.md", "docs/guide.id.md")]
FLAG = r"(?<![\w-])--[a-z][a-z-]*"


def name_of(document: Document) -> str:
    return document.name


@cache
def flags_of(command: str) -> set[str]:
    """Return the flags that `marketd COMMAND --help` tells of."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit):
        run_command([command, "--help"])
    return set(re.findall(FLAG, output.getvalue()))


def check_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the command line would not take these words."""
    [name, *_] = [word for word in words if word in COMMANDS] or [None]
    assert name is not None, "no such command"
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module(COMMANDS[name][0]), "run", lambda arguments: 0)
        try:
            assert run_command(words) == 0
        except SystemExit as exc:
            raise AssertionError("not a command line of ours") from exc
    # The parser takes a flag's beginning for the flag.
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= flags_of(name)


@pytest.mark.parametrize("document", ALL, ids=name_of)
def test_every_table_has_its_head(document: Document) -> None:
    """An empty line within one makes text of the rest."""
    firsts = re.findall(r"(?<=\n)\n *(\|.*)\n(.*)", document.prose)
    assert [first for first, second in firsts if not re.match(r" *\|[-:| ]+$", second)] == []


@pytest.mark.parametrize("document", FOR_OPERATORS, ids=name_of)
def test_every_command_in_a_block_is_one(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in document.commands:
        words = marketd_words(command)
        if words is not None:
            try:
                check_parses(words, monkeypatch)
            except AssertionError as exc:
                raise AssertionError(f"{document.name}: {' '.join(command)}: {exc}") from exc


@pytest.mark.parametrize("document", FOR_OPERATORS, ids=name_of)
def test_every_command_in_a_line_has_known_words(document: Document) -> None:
    for span in document.spans:
        found = re.match(r"(?:\.venv/bin/)?marketd ([a-z][a-z-]*)", span)
        if found is None:
            continue
        assert found[1] in COMMANDS, f"{document.name}: `{span}`"
        unknown = set(re.findall(FLAG, span)) - flags_of(found[1])
        assert not unknown, f"{document.name}: `{span}`"


@pytest.mark.parametrize("document", FOR_OPERATORS, ids=name_of)
def test_every_target_of_make_exists(document: Document) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in document.commands:
        if command[0] == "make":
            targets = [word for word in command[1:] if "=" not in word]
            assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets), command


@pytest.mark.parametrize("document", FOR_OPERATORS, ids=name_of)
def test_every_flag_of_a_script_is_one(document: Document) -> None:
    spans = [words for span in document.spans if "deploy/" in span for words in commands_of(span)]
    for command in (*document.commands, *spans):
        if command[0].startswith("deploy/"):
            script = ROOT / command[0]
            assert os.access(script, os.X_OK), command
            flags = {word for word in command if word.startswith("--")}
            assert not flags or flags <= set(re.findall(FLAG, help_of(script))), command


@cache
def help_of(script: Path) -> str:
    """Return what a script says of itself, which anybody may ask."""
    return subprocess.run([script, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("document", ALL, ids=name_of)
def test_every_link_leads_somewhere(document: Document) -> None:
    for link in document.links:
        path, _, anchor = link.partition("#")
        target = Document(document.path.parent / path if path else document.path)
        assert target.path.exists(), f"{document.name}: {link}"
        if anchor:
            assert anchor in target.anchors, f"{document.name}: {link}"


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_both_languages_have_the_same_sections_and_commands(ours: str, theirs: str) -> None:
    english, indonesian = Document(ROOT / ours), Document(ROOT / theirs)
    assert [heading.split()[0] for heading in english.headings] == [
        heading.split()[0] for heading in indonesian.headings
    ]
    assert english.commands == indonesian.commands
    rows = [re.findall(r"^\|", each.prose, flags=re.MULTILINE) for each in (english, indonesian)]
    assert len(rows[0]) == len(rows[1])
    # What it prints is not translated.
    shown = [[b.text for b in each.blocks if b.tag == "text"] for each in (english, indonesian)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("ours", [name for pair in PAIRS for name in pair] + ["README.md", "README.id.md"])
def test_each_language_links_the_other(ours: str) -> None:
    other = ours.replace(".id.md", ".md") if ".id." in ours else ours.replace(".md", ".id.md")
    first_screen = "\n".join(Document(ROOT / ours).text.splitlines()[:20])
    assert f"({other.rpartition('/')[2]})" in first_screen


# --- that these tests can fail ----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["marketd stats", "marketd status --jason", "marketd status --js", "marketd market pause all", "marketd"],
)
def test_a_mistake_in_a_command_is_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [words] = map(marketd_words, commands_of(line))
    assert words is not None
    with pytest.raises(AssertionError):
        check_parses(words, monkeypatch)


def test_commands_are_found_behind_sudo_pipes_and_in_containers() -> None:
    text = (
        "sudo marketd check && marketd status | less  # both\n"
        "docker compose exec marketd marketd probe olymp\ndocker compose logs marketd\n"
        "marketd history EURUSD \\\n    --ticks > ticks.csv\n"
    )
    found = [marketd_words(words) for words in commands_of(text)]
    assert found == [
        ["check"], ["status"], None, ["probe", "olymp"], None, ["history", "EURUSD", "--ticks"],
    ]  # fmt: skip
