"""Pages of what is stored: from the daemon, and where none runs, from its database opened only to read."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from domain.clock import as_text
from domain.errors import RejectedError
from storage.reader import Reader, open_reader
from supervisor import lock, reading, requests
from supervisor.client import Line
from supervisor.commands.database import database_of
from supervisor.commands.where import settings_of, state_dir_of
from supervisor.settings import market_specs

PAGE_WITHIN_S = 30.0  # the database's own deadline, `[storage] read_timeout_s`, has this default

Page = dict[str, Any]
Ask = Callable[..., Page]


def pages(arguments: argparse.Namespace, command: str, **request: Any) -> Iterator[Page]:
    """Yield the answers to a request page by page; `--from` and `--to` are added to it.

    Raises RejectedError where they are the wrong way round, and what either way raises.
    """
    request |= span_of(arguments)
    with _way(arguments, command) as ask:
        after = None
        while True:
            page = ask(**request, after=after)
            yield page
            after = page["next"]
            if after is None:
                return
            request["market"] = page["market"]  # a bare symbol might become ambiguous meanwhile


def ask_once(arguments: argparse.Namespace, command: str, **request: Any) -> Page:
    """Return the answer to a request that has one page; raises what either way raises."""
    with _way(arguments, command) as ask:
        return ask(**request)


def span_of(arguments: argparse.Namespace) -> dict[str, int]:
    """Return what `--from` and `--to` say; raise RejectedError where they are the wrong way round."""
    from_us, to_us = arguments.from_us, arguments.to_us
    if from_us is not None and to_us is not None and from_us > to_us:
        raise RejectedError(f"--from ({as_text(from_us)}) is after --to ({as_text(to_us)})")
    given = {"from_us": from_us, "to_us": to_us}
    return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def _way(arguments: argparse.Namespace, command: str) -> Iterator[Ask]:
    state_dir = state_dir_of(arguments)
    if lock.holder(state_dir) is not None:
        with contextlib.closing(Line(state_dir, answer_s=PAGE_WITHIN_S)) as line:
            yield partial(line.ask, command)
        return
    settings = settings_of(arguments)
    target = database_of(arguments, settings, state_dir=state_dir)
    configured = requests.Configured(
        markets=tuple(spec.id for spec in market_specs(settings)),
        timeframes_s=tuple(settings.storage.timeframes_s),
    )
    with open_reader(target, settings=settings.storage) as reader:
        yield partial(_read, reader, command, configured)


def _read(reader: Reader, command: str, configured: requests.Configured, **request: Any) -> Page:
    work = reading.plan(command, request, configured=configured)
    return requests.settle(reader.run(work))
