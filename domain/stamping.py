"""Turns a venue's price into a tick: its time, its number, and whether we had it already."""

import attrs

from domain.market import PriceUpdate, Tick

CLOCK_STEP_US = 2_000_000  # a wall clock that steps back further is believed (DESIGN §2)
REMEMBERED_TIMES = 64  # how many recent ts_us a market remembers to number equal ones
# A venue that only sends old numbers has begun to count anew (or its last number was absurd).
MAX_DUPLICATES_IN_A_ROW = 1_000


@attrs.define(kw_only=True)
class Stamper:
    """Stamps one market's prices, over every socket of its venue and every restart of its actors.

    Gives each tick a unique `(ts_us, seq)`: `seq` is the venue's number, else 0, 1, 2 … among
    equal `ts_us`. A price without a time gets its receipt's, never earlier than the market's last
    one, unless the wall clock went back by more than 2 s: then the new clock is used and
    `clock_steps` counts it. What it sends after a thousand old numbers in a row is believed again.
    """

    market: str
    duplicates: int = 0
    clock_steps: int = 0
    last_ts_us: int = -1
    last_seq: int = -1
    _numbers: dict[int, int] = attrs.field(factory=dict)
    _in_a_row: int = 0

    def remember(self, last: Tick) -> None:
        """Go on after the last tick of an earlier run; no effect after the first of this one.

        The number of an imported one is not the venue's.
        """
        if self.last_ts_us < 0:
            self.last_ts_us = last.ts_us
            self.last_seq = -1 if last.source == "imported" else last.seq
            self._numbers = {last.ts_us: last.seq}

    def stamp(self, update: PriceUpdate, *, received_us: int) -> Tick | None:
        """Return the tick, or None for a price that the venue sends a second time."""
        _, ts_us, seq, price, bid, ask, volume = update
        if seq is not None:
            if seq <= self.last_seq and self._in_a_row < MAX_DUPLICATES_IN_A_ROW:
                self.duplicates += 1
                self._in_a_row += 1
                return None
            self.last_seq, self._in_a_row = seq, 0
        if ts_us is None:
            ts_us = self._receipt_time(received_us)
        if seq is None:
            seq = self._next_number(ts_us)
        self.last_ts_us = ts_us
        return Tick(self.market, ts_us, seq, price, bid, ask, volume, received_us)

    def _receipt_time(self, received_us: int) -> int:
        if received_us >= self.last_ts_us:
            return received_us
        if self.last_ts_us - received_us <= CLOCK_STEP_US:
            return self.last_ts_us
        self.clock_steps += 1
        return received_us

    def _next_number(self, ts_us: int) -> int:
        number = self._numbers.pop(ts_us, -1) + 1
        self._numbers[ts_us] = number  # popped and put back: the newest stands last
        if len(self._numbers) > REMEMBERED_TIMES:
            del self._numbers[next(iter(self._numbers))]
        return number
