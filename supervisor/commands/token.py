"""`marketd token set VENUE`: stores an account's token where the daemon finds it. Never an argument."""

import argparse
import getpass
import sys
import warnings
from pathlib import Path
from typing import NoReturn

from domain.clock import as_text, now_us
from domain.errors import ConfigError, MarketdError, PermanentError
from domain.token import clean_token, duration_text, expiry_us
from supervisor import lock
from supervisor.commands.owner import become_owner
from supervisor.sections import Settings
from supervisor.settings import find_config, load, state_dir
from supervisor.token_files import READ_BYTES, make_folder, refresh_path, token_path, write_token
from venues import find_venue
from venues.protocol import TokenUse
from venues.settings import VenueSettings

USAGE = 2
NOT_AN_ARGUMENT = (
    "usage: marketd token set VENUE [--refresh]\n"
    "marketd token: the token is asked for, or read from standard input, and never an argument: those\n"
    "are seen by others and kept by the shell. If you gave one, have the venue make another"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd token`; whatever else is given is refused without being repeated."""
    parser.add_argument("action", metavar="set")
    parser.add_argument("venue", metavar="VENUE", help="NAME of a [venues.NAME] section")
    parser.add_argument(
        "--refresh", action="store_true", help="store the token with which fresh ones are asked for"
    )
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    parser.error = _refuse_words  # type: ignore[method-assign]  # argparse's own repeats what it saw


def _refuse_words(message: str) -> NoReturn:
    print(NOT_AN_ARGUMENT, file=sys.stderr)
    raise SystemExit(USAGE)


def run(arguments: argparse.Namespace) -> int:
    """Ask for the token, check it, store it; say what comes next."""
    if arguments.action != "set" or arguments.more:
        _refuse_words("")
    settings = load(find_config(arguments.config))
    name = arguments.venue
    venue = _venue_of(settings, name)
    directory = state_dir(arguments.state_dir, settings)
    if arguments.refresh:
        _check_refreshes(name, venue)
        path, what = refresh_path(directory, venue=name), f"refresh token of {name}"
    else:
        _check_takes_token(name, venue)
        path, what = token_path(directory, venue=name, settings=venue), f"token of {name}"
    token = _checked(_ask(what), what=what)
    _store(path, token, state_directory=directory)
    print(f"{what} stored in {path}; it {_lifetime(token)}")
    print(_next_step(directory, name))
    return 0


def _venue_of(settings: Settings, name: str) -> VenueSettings:
    if name not in settings.venues:  # its name is not repeated: it may be the token
        known = ", ".join(sorted(settings.venues)) or "none"
        raise ConfigError(f"there is no [venues] section of that name; those there are: {known}")
    return settings.venues[name]


def _check_takes_token(name: str, settings: VenueSettings) -> None:
    if find_venue(settings.protocol).token is TokenUse.NONE:
        raise PermanentError(f"{name} ({settings.protocol}) needs no token; nothing was stored")


def _check_refreshes(name: str, settings: VenueSettings) -> None:
    if find_venue(settings.protocol).refresh_token is None:
        raise PermanentError(f"{name} ({settings.protocol}) knows no refresh token; nothing was stored")


def _ask(what: str) -> str:
    """Return what was typed, unseen, or what stands on standard input."""
    if sys.stdin is None:
        raise MarketdError("there is no standard input to read the token from")
    if not sys.stdin.isatty():
        try:
            return sys.stdin.read(READ_BYTES)
        except UnicodeDecodeError:
            raise MarketdError(f"the {what} was not stored: it is not text") from None
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"{what} (not shown): ")
        except getpass.GetPassWarning as exc:
            raise MarketdError("this terminal would show the token; give it on standard input") from exc
        except EOFError:
            return ""


def _checked(text: str, *, what: str) -> str:
    try:
        token = clean_token(text)
    except ValueError as exc:
        raise MarketdError(f"the {what} was not stored: {exc}") from exc
    expires_us = expiry_us(token)
    if expires_us is not None and expires_us <= now_us():
        raise MarketdError(f"the {what} was not stored: it expired at {as_text(expires_us)}")
    return token


def _store(path: Path, token: str, *, state_directory: Path) -> None:
    try:
        if path.is_relative_to(state_directory):
            become_owner(state_directory)  # the daemon could put links in our way
            make_folder(state_directory)
        write_token(path, token)
    except OSError as exc:
        raise MarketdError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _lifetime(token: str) -> str:
    expires_us = expiry_us(token)
    if expires_us is None:
        return "does not say when it expires"
    return f"expires in {duration_text(expires_us - now_us())}, at {as_text(expires_us)}"


def _next_step(directory: Path, name: str) -> str:
    try:
        pid = lock.holder(directory)
    except MarketdError:  # somebody else's daemon, maybe
        pid = None
    if pid is None:
        return "next: `marketd run`"
    return f"the running daemon takes it within 5 s and connects to {name} with it; see `marketd status`"
