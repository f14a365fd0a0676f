"""`marketd init`: asks a few questions and writes a commented settings file."""

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from domain.errors import ConfigError
from domain.market import VENUE_PATTERN
from supervisor.reference import SECTION_ORDER, as_toml, keys_of, promise_of
from supervisor.settings import FILE_NAME, UNUSED_SECTIONS, read_settings
from venues import PROTOCOLS, find_venue
from venues.protocol import TokenUse

EMBEDDED = "sqlite"
# What to offer first; the symbols are the venue's own spelling.
EXAMPLE_SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "olymptrade": ("EURUSD", "GBPUSD", "USDJPY"),
    "deriv": ("EURUSD", "GBPUSD", "USDJPY"),
    "binance": ("BTCUSDT", "ETHUSDT"),
    "kraken": ("EURUSD", "GBPUSD", "BTCUSD"),
}

# Sections that are commented out as a whole, and what to show in them.
COMMENTED_OUT = (*UNUSED_SECTIONS, "strategies")
EXAMPLE_STRATEGY: Mapping[str, object] = {"kind": "rsi", "stake": 10}

HEAD = """# Settings of marketd. Lines that begin with `#` are defaults: remove the `#` to change one.
# `marketd check` tells whether all is well; docs/settings.md explains every key.
"""


@attrs.frozen(kw_only=True)
class Answers:
    """What `init` asks for. `database` is `sqlite` or a database URL."""

    protocol: str = "binance"
    venue: str = "binance"
    symbols: tuple[str, ...] = EXAMPLE_SYMBOLS["binance"]
    database: str = EMBEDDED
    zone: str = "UTC"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `init` has the common flags only."""


def run(arguments: argparse.Namespace) -> int:
    """Write the file `--config` names, else ./marketd.toml; never over one that is there."""
    path: Path = arguments.config or Path(FILE_NAME)
    if path.exists():
        print(f"{path} is there already; it is left as it is", file=sys.stderr)
        return 1
    try:
        answers = ask_all(input, print) if is_interactive() else Answers()
    except (KeyboardInterrupt, EOFError):
        print("\nnothing written", file=sys.stderr)
        return 1
    try:
        write_new(path, settings_text(answers))
    except OSError as exc:
        print(f"{path}: cannot be written: {exc.strerror}", file=sys.stderr)
        return 1
    log_in = f"`marketd token set {answers.venue}`, then " if _needs_token(answers) else ""
    print(f"wrote {path}; next: {log_in}`marketd check`, then `marketd run`")
    return 0


def _needs_token(answers: Answers) -> bool:
    return find_venue(answers.protocol).token is TokenUse.REQUIRED


def is_interactive() -> bool:
    """Return whether somebody can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, and the folders above it; raise `FileExistsError` else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


# --- questions --------------------------------------------------------------------------------


def ask_all(ask: Callable[[str], str], tell: Callable[[str], None]) -> Answers:
    """Ask everything, each question again until its answer makes good settings."""
    protocols = ", ".join(PROTOCOLS)
    questions = (
        ("protocol", f"Protocol of the venue ({protocols})"),
        ("venue", "Name of the venue, as in EURUSD@NAME"),
        ("symbols", "Symbols, separated by commas"),
        ("database", "Database: sqlite, or mysql://USER@HOST/NAME"),
        ("zone", "Time zone of reports"),
    )
    answers = Answers()
    for name, question in questions:
        answers = _ask(answers, name, question=question, ask=ask, tell=tell)
    return answers


def _ask(
    answers: Answers, name: str, *, question: str, ask: Callable[[str], str], tell: Callable[[str], None]
) -> Answers:
    default = getattr(answers, name)
    shown = ", ".join(default) if isinstance(default, tuple) else default
    while True:
        text = ask(f"{question} [{shown}]: ").strip()
        if not text:
            return answers
        changed = _with_answer(answers, name, text)
        try:
            read_settings(tomllib.loads(settings_text(changed)))
        except ConfigError as exc:
            tell(f"  {exc}")
        else:
            return changed


def _with_answer(answers: Answers, name: str, text: str) -> Answers:
    match name:
        case "protocol":
            symbols = EXAMPLE_SYMBOLS.get(text, ())
            return attrs.evolve(answers, protocol=text, venue=text, symbols=symbols)
        case "symbols":
            names = tuple(part.strip() for part in text.split(",") if part.strip())
            return attrs.evolve(answers, symbols=names)
        case _:
            changes: dict[str, Any] = {name: text}
            return attrs.evolve(answers, **changes)


# --- the file ---------------------------------------------------------------------------------


def settings_text(answers: Answers) -> str:
    """Return a settings file with every key and its help; what has its default is commented out."""
    values: Mapping[str, Mapping[str, object]] = {
        "service": {} if answers.zone == Answers().zone else {"zone": answers.zone},
        "storage": {} if answers.database == EMBEDDED else {"url": answers.database},
        "venues": {"protocol": answers.protocol},
        "markets": {"venue": answers.venue, "symbols": answers.symbols},
    }
    # A name that is none yet must not be able to break the file: the check comes after.
    venue = answers.venue if VENUE_PATTERN.fullmatch(answers.venue) else as_toml(answers.venue)
    lines = [HEAD]
    for heading, name, cls in SECTION_ORDER:
        title = heading.replace("NAME", venue if name == "venues" else "example")
        mark = "#" if name in COMMENTED_OUT else ""
        shown = {"strategies": EXAMPLE_STRATEGY}.get(name, {})
        keys = _key_lines(cls, values.get(name, {}), shown=shown)
        lines += [f"# {promise_of(cls)}", f"{mark}{title}", *keys, ""]
    return "\n".join(lines)


def _key_lines(cls: type[Any], values: Mapping[str, object], *, shown: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines of a section's keys; those without a value are commented out."""
    for key in keys_of(cls):
        yield f"# {key.help_text}"
        if key.name in values:
            yield f"{key.name} = {as_toml(values[key.name])}"
        elif key.name in shown:
            yield f"#{key.name} = {as_toml(shown[key.name])}"
        else:
            yield f"#{key.name} = {key.default}".rstrip()
