"""The simulator's ledger: every tick it handed to a socket, the oracle for what was stored."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import trio

from venues.simulated.protocol import SimulatedTick

FLUSH_EVERY_S = 0.05  # every tick is in the file within 100 ms


class Ledger(Protocol):
    """Whoever wants to know which ticks were handed over."""

    def add(self, ticks: Sequence[SimulatedTick], *, sent_us: int) -> None:
        """Take note of ticks that were handed to one socket; `sent_us` is the wall clock."""

    async def keep(self) -> None:
        """Write to the file what comes in, as long as it lives; raises OSError."""


class NoLedger:
    """Forgets all of it."""

    def add(self, ticks: Sequence[SimulatedTick], *, sent_us: int) -> None:
        """Forget them."""

    async def keep(self) -> None:
        """Return: there is no file."""

    def open(self) -> None:
        """Open nothing."""

    def close(self) -> None:
        """Close nothing."""


class FileLedger:
    """Appends one JSON object a tick to a file; nothing is on disk before `flush()`.

    A simulator that is started again on the same file goes on where the last one ended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._lines: list[str] = []

    def open(self) -> None:
        """Open the file; raises OSError."""
        self._file = self._path.open("ab")

    def add(self, ticks: Sequence[SimulatedTick], *, sent_us: int) -> None:
        """Take note of ticks that were handed to one socket."""
        for _, _, symbol, ts_us, seq, price, _ in ticks:
            self._lines.append(
                f'{{"symbol":"{symbol}","ts_us":{"null" if ts_us is None else ts_us},'
                f'"seq":{"null" if seq is None else seq},"price":{price!r},"sent_us":{sent_us}}}\n'
            )

    async def keep(self) -> None:
        """Write to the file every 50 ms what has come in; raises OSError."""
        while True:
            await trio.sleep(FLUSH_EVERY_S)
            self.flush()

    def flush(self) -> None:
        """Write what is known to the file; raises OSError."""
        if self._file is not None and self._lines:
            lines, self._lines = self._lines, []
            self._file.write("".join(lines).encode())
            self._file.flush()

    def close(self) -> None:
        """Write the rest and close the file; raises OSError."""
        if self._file is not None:
            file = self._file
            self.flush()
            self._file = None
            file.close()
