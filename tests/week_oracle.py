"""Compares what the tables say of a script with what its venues sent, market by market."""

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import attrs
from week_script import CLOSES, OPENS, Script, at_us

from venues.simulated.past import PastTick

SECOND_US = 1_000_000


class Row(NamedTuple):
    """A row of `gap`."""

    from_us: int
    to_us: int | None
    cause: str
    fill: str

    def holds(self, ts_us: int) -> bool:
        """Return whether a moment lies strictly inside."""
        return self.from_us < ts_us and (self.to_us is None or ts_us < self.to_us)


class Stored(NamedTuple):
    """A row of `tick`."""

    ts_us: int
    seq: int
    price: float
    source: str


@attrs.frozen
class Tables:
    """What was stored of each market, in order."""

    ticks: dict[str, list[Stored]]
    gaps: dict[str, list[Row]]

    @classmethod
    def of(cls, path: Path) -> "Tables":
        """Read a database."""
        ticks: dict[str, list[Stored]] = defaultdict(list)
        gaps: dict[str, list[Row]] = defaultdict(list)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            names = dict(connection.execute("SELECT id, symbol || '@' || venue FROM market"))
            for market, *row in connection.execute(
                "SELECT market_id, ts_us, seq, price, source FROM tick ORDER BY ts_us, seq"
            ):
                ticks[names[market]].append(Stored(*row))
            for market, *row in connection.execute(
                "SELECT market_id, from_us, to_us, cause, fill FROM gap ORDER BY from_us, to_us"
            ):
                if row[0] != row[1]:  # a row that turned out to be of no length says nothing
                    gaps[names[market]].append(Row(*row))
        return cls(ticks, gaps)


def differences(past: Sequence[PastTick], stored: Sequence[Stored], gaps: Sequence[Row]) -> list[str]:
    """Return what is wrong with a market's ticks: all that was sent is stored once, or lies in a gap.

    What was sent before the first tick that arrived is not known to be missing.
    """
    found: list[str] = []
    sent = {(tick.ts_us, tick.price) for tick in past}
    times = [tick.ts_us for tick in stored]
    if any(later <= earlier for earlier, later in pairwise(times)):
        found.append("two ticks of one time")
    found += [f"{tick} was never sent" for tick in stored if (tick.ts_us, tick.price) not in sent]
    kept = set(times)
    found += [
        f"{tick} is neither stored nor in a gap"
        for tick in past
        if times
        and tick.ts_us > times[0]
        and tick.ts_us not in kept
        and not any(row.holds(tick.ts_us) for row in gaps)
    ]
    found += [
        f"{tick} lies in {row}"
        for tick in stored
        for row in gaps
        if row.holds(tick.ts_us) and tick.source == "live"
    ]
    return found


def unexplained(stored: Sequence[Stored], gaps: Sequence[Row], *, longest_us: int) -> list[str]:
    """Return the silences that are longer than a market's ticks are apart, and no gap covers whole."""
    found: list[str] = []
    for earlier, later in pairwise(tick.ts_us for tick in stored):
        covered_us = earlier
        for row in gaps:
            if row.from_us <= covered_us:
                covered_us = max(covered_us, row.to_us or later)
        if later - max(covered_us, earlier) > longest_us:
            found.append(f"nothing explains the silence from {covered_us} to {later}")
    return found


class Expected(NamedTuple):
    """A gap that the script makes: its cause, and when it begins and ends, None for never."""

    cause: str
    from_us: int
    to_us: int | None


def expected_gaps(script: Script, symbol: str, *, silence_us: int) -> list[Expected]:
    """Return the gaps of a currency pair, in order; one that is `silent` is noticed after so long."""
    closes_us, opens_us = at_us(CLOSES), at_us(OPENS)
    found = [Expected("closed", closes_us, opens_us)]
    for event in script.events:
        if event.venue != "olymp" or event.what == "set" or event.symbol not in ("", symbol):
            continue
        begins_us = at_us(event.when)
        ends_us = at_us(script.when("set")) if event.what == "expires" else begins_us
        if closes_us <= begins_us < opens_us:
            begins_us = opens_us  # nothing is missed before
        if event.symbol:
            ends_us = begins_us + silence_us
            found.append(Expected("stale", begins_us, ends_us))
        elif begins_us <= ends_us:
            found.append(Expected("disconnect", begins_us, ends_us))
        if event.what == "rename":
            found.append(Expected("refused", ends_us, None))
    found.sort(key=lambda gap: gap.from_us)
    for number, gap in enumerate(found):
        if gap.to_us is None:
            return found[: number + 1]
    return found


def gap_differences(expected: Sequence[Expected], rows: Sequence[Row], *, within_us: int) -> list[str]:
    """Return where the rows are not those that are expected; each end may be off by `within_us`."""
    if [gap.cause for gap in expected] != [row.cause for row in rows]:
        return [f"expected {expected}, found {rows}"]
    return [
        f"expected {gap}, found {row}"
        for gap, row in zip(expected, rows, strict=True)
        if not _is_near(gap.from_us, row.from_us, within_us) or not _is_near(gap.to_us, row.to_us, within_us)
    ]


def _is_near(one: int | None, other: int | None, within_us: int) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= within_us


def most_within(moments_us: Iterable[int], window_s: float) -> int:
    """Return how many of these moments fall into any window of that length, at most."""
    times = sorted(moments_us)
    most = first = 0
    for last, time_us in enumerate(times):
        while time_us - times[first] > window_s * SECOND_US:
            first += 1
        most = max(most, last - first + 1)
    return most
