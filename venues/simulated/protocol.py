"""What a simulated venue must answer: the venue's side of a protocol, sans I/O and without a clock.

The server in `supervisor` knows sockets, times and faults; a venue knows its wire.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class SimulatedTick(NamedTuple):
    """One price as one stream of a venue tells it; the frame and what the ledger says of it.

    `symbol` is in upper case; `ts_us` and `seq` are as the wire carries them, None where it does
    not; `price` is what the client makes of the frame, to the last bit.
    """

    stream: str
    payload: str
    symbol: str
    ts_us: int | None
    seq: int | None
    price: float


Deliver = Callable[[SimulatedTick], None]  # takes a tick for one socket; never waits, never raises


class SimulatedSession(Protocol):
    """One socket's subscriptions, as the venue keeps them."""

    subscribes: int  # how many subscribes it has accepted so far

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame, pings and pongs too; return why to disconnect, "" if not to.

        `at_s` is monotonic.
        """

    def receive(self, text: str) -> list[str]:
        """Return the answers to a text frame, whatever it holds."""

    def frame(self, tick: SimulatedTick) -> str:
        """Return the frame that tells this socket of a tick."""

    def garbage(self, symbol: str | None) -> list[str]:
        """Return frames that no client can decode.

        They look like this market's, None: like any it subscribed.
        """

    def read_recorded(self, frame: str) -> SimulatedTick | None:
        """Return the tick in a recorded frame, None if it holds none that this socket subscribed."""

    def has_symbol(self, symbol: str) -> bool:
        """Return whether this socket subscribed that market."""

    def close(self) -> None:
        """End every subscription."""


class SimulatedVenue(Protocol):
    """A venue with its markets and whoever watches them."""

    @property
    def symbols(self) -> Sequence[str]:
        """The markets, in upper case."""

    def open_session(self, *, target: str, deliver: Deliver) -> SimulatedSession:
        """Return a new socket's session; `target` is the path and query it asked for.

        Raises `RejectedError` for a path that is not served.
        """

    def has_watchers(self, symbol: str) -> bool:
        """Return whether any socket subscribed that market."""

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price and deliver it to whoever watches it; `at_us` is the wall clock."""
