"""The command line. Imports only what the command at hand needs."""

import os
import sys
from collections.abc import Sequence

from supervisor import signals
from supervisor.plain_text import use_plain_text

INTERNAL_ERROR, USAGE, SETTINGS = 1, 2, 78

# name: (module with add_arguments and run, what it does)
COMMANDS = {
    "run": ("supervisor.run", "run the daemon"),
    "init": ("supervisor.commands.init", "write a commented settings file, asking a few questions"),
    "check": ("supervisor.commands.check", "check settings, database, clock and disk"),
    "status": ("supervisor.commands.status", "show what the running daemon does"),
    "market": ("supervisor.commands.market", "start, stop or restart markets"),
    "markets": ("supervisor.commands.markets", "list what can be watched and traded at a venue"),
    "probe": (
        "supervisor.commands.probe",
        "log in to a venue, listen, tell which frames were understood",
    ),
    "token": ("supervisor.commands.token", "store an account's token, which is asked for"),
    "drain": ("supervisor.commands.drain", "switch the opening of new trades off or on"),
    "kill-switch": ("supervisor.commands.kill_switch", "switch all trading off, or on again, with a reason"),
    "shutdown": ("supervisor.commands.shutdown", "stop the running daemon"),
    "history": ("supervisor.commands.history", "print a market's candles or ticks"),
    "gaps": ("supervisor.commands.gaps", "print the times in which ticks are missing, and why"),
    "trades": ("supervisor.commands.trades", "list what was traded"),
    "trade": ("supervisor.commands.trade", "explain one trade: everything its result follows from"),
    "why": ("supervisor.commands.why", "say why a market is not traded now, and what was refused"),
    "report": ("supervisor.commands.report", "say what trading has come to, per market, strategy and hour"),
    "backtest": ("supervisor.commands.backtest", "run a strategy over a market's recorded prices"),
    "journal": ("supervisor.commands.journal", "check the journal of accepted prices, batch by batch"),
    "migrate": ("supervisor.commands.migrate", "bring the database's schema up to date"),
    "backup": ("supervisor.commands.backup", "write the database and what belongs to it into one file"),
    "restore": ("supervisor.commands.restore", "bring a backup back while the daemon does not run"),
    "import": ("supervisor.commands.import_", "bring the prices of another bot's database in"),
    "simulate": ("supervisor.simulate.command", "serve a simulated venue"),
}
WITHOUT_STATE = ("simulate",)


def main() -> int:
    """Run one command; return the exit code: 0, 2 usage, 78 settings, 1 anything else."""
    if sys.argv[1:2] == ["run"]:
        signals.install()  # before anything slow is imported: an unhandled SIGUSR1 kills
    use_plain_text()
    try:
        return run_command(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERNAL_ERROR
    finally:
        signals.ignore_harmless()


def run_command(words: Sequence[str]) -> int:
    """Run the command that these words say; errors of ours become one line and an exit code."""
    import importlib

    from domain.errors import ConfigError, MarketdError

    name = next((word for word in words if word in COMMANDS), None)
    command = None if name is None else importlib.import_module(COMMANDS[name][0])
    try:
        return int((command.run if command else _usage)(_parse(words, name, command)))
    except ConfigError as exc:
        _complain(f"marketd: settings: {exc}")
        return SETTINGS
    except MarketdError as exc:
        _complain(f"marketd: {exc}")
        return INTERNAL_ERROR
    except BrokenPipeError:
        return INTERNAL_ERROR  # `marketd … | head`: the reader has seen enough


def _complain(text: str) -> None:
    """Print an error; the journal is told that it is one (sd-daemon(3)), for `journalctl -p err`."""
    prefix = ""
    if "JOURNAL_STREAM" in os.environ:
        from supervisor.journald import is_stderr_the_journal

        prefix = "<3>" if is_stderr_the_journal(os.environ) else ""
    print("\n".join(f"{prefix}{line}" for line in text.splitlines()), file=sys.stderr)


def _parse(words: Sequence[str], name: str | None, command: object) -> object:
    """Return the parsed words; only the flags of the command at hand are known."""
    import argparse
    from pathlib import Path

    from supervisor.version import VERSION

    parser = argparse.ArgumentParser(
        prog="marketd", description="Watches many markets and keeps every price, in one small process."
    )
    parser.add_argument("--version", action="version", version=f"marketd {VERSION}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = parser
    for each, (_, help_text) in COMMANDS.items():
        subparser = subparsers.add_parser(each, help=help_text, description=help_text)
        if each not in WITHOUT_STATE:
            subparser.add_argument("--config", type=Path, metavar="FILE", help="the settings file")
            subparser.add_argument("--state-dir", type=Path, metavar="DIR", help="the state directory")
        if each == name:
            command.add_arguments(subparser)  # type: ignore[attr-defined]  # every command has it
            chosen = subparser
    arguments, unknown = parser.parse_known_args(words)
    if unknown:  # the command itself says so: one of them must not repeat what it was given
        chosen.error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def _usage(arguments: object) -> int:
    return USAGE  # not reached: the parser leaves by itself where no command is named
