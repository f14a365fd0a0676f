"""Points in time as people write them on the command line."""

import argparse
import datetime
import re

from domain.clock import now_us

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
DAY_US = 86_400_000_000
UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY_US, "w": 7 * DAY_US}
BACK = re.compile(rf"(\d{{1,9}})([{''.join(UNITS_US)}])")
HELP = "2026-11-24, 2026-11-24T10:00 (UTC, or with Z or an offset), today, yesterday, or so long ago: 2h, 3d"


def add_span(parser: argparse.ArgumentParser) -> None:
    """Add `--from` and `--to`."""
    parser.add_argument(
        "--from", dest="from_us", type=argument, default=None, metavar="T", help=f"from T on: {HELP}"
    )
    parser.add_argument("--to", dest="to_us", type=argument, default=None, metavar="T", help="up to before T")


def argument(text: str) -> int:
    """Return a flag's value as microseconds; the parser shows what is wrong with it and exits 2."""
    try:
        return parse_time(text, at_us=now_us())
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def parse_time(text: str, *, at_us: int) -> int:
    """Return the microseconds (UTC) of what somebody wrote at `at_us`; raise ValueError that names it."""
    midnight_us = at_us - at_us % DAY_US
    back = BACK.fullmatch(text)
    if text == "today":
        found_us = midnight_us
    elif text == "yesterday":
        found_us = midnight_us - DAY_US
    elif back is not None:
        found_us = at_us - int(back[1]) * UNITS_US[back[2]]
    else:
        found_us = _parse_date(text)
    if found_us < 0:
        raise ValueError(f"{text!r} is before 1970")
    return found_us


def _parse_date(text: str) -> int:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: expected {HELP}") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return (found - EPOCH) // datetime.timedelta(microseconds=1)
