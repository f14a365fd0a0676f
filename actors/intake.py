"""What becomes of a price: checked, stamped, shown on the rows, handed to the writer and its market."""

import logging
from collections.abc import Callable

from actors.ports import ConnectionPlace
from domain.errors import RemoteProtocolError
from domain.events import Event, emit
from domain.market import PriceUpdate, Tick, check_update
from domain.states import MarketRow

# A venue's time so far ahead of ours is no time: milliseconds in the place of seconds, say. Stored, it
# would hide every later gap of its market, since those begin at the last tick.
AHEAD_US = 365 * 86_400_000_000


class Intake:
    """Takes in the prices of one socket. Awaits nothing; owns nothing but what the tree gave it."""

    __slots__ = ("_place", "_row")

    def __init__(self, place: ConnectionPlace) -> None:
        self._place = place
        self._row = place.row

    def take(self, update: PriceUpdate, *, received_us: int, at: float) -> Tick | None:
        """Return the tick of a price; None where nobody wants it or the venue sent it before.

        `received_us` is the wall clock's time, `at` the monotonic clock's. Raises
        `RemoteProtocolError` for a number that cannot be stored.
        """
        port = self._place.wired.get(update.symbol)
        if port is None:
            return None  # removed a moment ago; the venue has not stopped sending yet
        check_update(update)
        if update.ts_us is not None and update.ts_us - received_us > AHEAD_US:
            raise RemoteProtocolError(f"{update.symbol}: {update.ts_us} µs is over a year ahead of our clock")
        steps = port.stamper.clock_steps
        tick = port.stamper.stamp(update, received_us=received_us)
        if tick is None:
            return None
        if port.stamper.clock_steps != steps:
            port.gaps.clock_stepped_back(ts_us=tick.ts_us)
            emit(
                Event.CLOCK,
                f"the wall clock stepped back; {port.row.name} goes on with the new time",
                level=logging.WARNING,
                actor=f"market/{port.row.name}",
            )
        has_opened = port.hours.is_closed and port.hours.tick(at_us=received_us)
        port.gaps.tick(tick.ts_us)
        self._show(port.row, tick, at, port.changed)
        if has_opened:
            self._place.link.poke()
        return tick

    def hand_over(self, ticks: list[Tick]) -> None:
        """Give the ticks to the writer and, market by market, to the markets."""
        self._place.ticks.put_nowait(ticks)
        if len(ticks) == 1:
            self._deliver(ticks)
            return
        by_market: dict[str, list[Tick]] = {}
        for tick in ticks:
            by_market.setdefault(tick.market, []).append(tick)
        for some in by_market.values():
            self._deliver(some)

    def _show(self, row: MarketRow, tick: Tick, at: float, changed: Callable[[], None]) -> None:
        """Bring the rows up to date; only a tick that ends a silence changes a state."""
        previous = row.last_tick_at
        row.last_tick_at = self._row.data_until = at
        if self._row.data_since is None:
            self._row.data_since = at
        row.last_tick_us = tick.ts_us
        row.price = tick.price
        row.ticks += 1
        if (
            previous is None
            or row.subscribed_at is None
            or previous < row.subscribed_at
            or at - previous >= row.stale_after_s
        ):
            changed()

    def _deliver(self, ticks: list[Tick]) -> None:
        symbol = ticks[0].market.rpartition("@")[0]
        self._place.ports[symbol].mailbox.put_nowait(ticks)
