"""What a simulated venue must answer: the venue's side of a protocol, sans I/O and without a clock.

The server in `supervisor` knows sockets, times and faults; a venue knows its wire.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol


class SimulatedTick(NamedTuple):
    """One price as one stream of a venue tells it; the frame and what the ledger says of it.

    `symbol` is as the simulator's `--markets` spells it; `ts_us` and `seq` are as the wire carries
    them, None where it does not; `price` is what the client makes of the frame, to the last bit.
    `more` are those of the same market that the same frame tells after it; `payload` is of all.
    """

    stream: str
    payload: str
    symbol: str
    ts_us: int | None
    seq: int | None
    price: float
    more: tuple["SimulatedTick", ...] = ()


Deliver = Callable[[SimulatedTick], None]  # takes a tick for one socket; never waits, never raises


class Request(NamedTuple):
    """What a client asks at the door: a web-socket upgrade, or plain HTTP.

    `target` is path and query; header names are in lower case, values of one name joined by a comma;
    `body` is empty for an upgrade.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


class HttpAnswer(NamedTuple):
    """An answer over HTTP; JSON where there is a body."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Host(Protocol):
    """What one socket does for its session. Nothing of it waits or raises."""

    def deliver(self, tick: SimulatedTick) -> None:
        """Send the session's frame for a tick, as far as the faults that are on let it through."""

    def send(self, text: str) -> None:
        """Send a text frame, unless the venue is silent."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame as the last one."""

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call it after so long, unless the socket is gone by then."""

    def now_us(self) -> int:
        """Return the wall clock: microseconds since 1970, UTC."""


class SimulatedSession(Protocol):
    """One socket's subscriptions, as the venue keeps them."""

    subscribes: int  # how many subscribes it has accepted so far

    def take_frame(self, *, at_s: float) -> str:
        """Count an incoming frame, pings and pongs too; return why to disconnect, "" if not to.

        `at_s` is monotonic.
        """

    def receive(self, text: str) -> list[str]:
        """Return the answers to a text frame, whatever it holds; more may go by the host."""

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
    """A venue with its markets and whoever watches them. `at_us` is always the wall clock."""

    bans: int  # how many clients it has punished for going over a limit; nobody should be

    @property
    def symbols(self) -> Sequence[str]:
        """The markets, as `--markets` spells them."""

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        """Return how to refuse an upgrade, None to accept it; counts the attempt."""

    def open_session(self, *, request: Request, host: Host, at_us: int) -> SimulatedSession:
        """Return a new socket's session, which may close it at once."""

    def answer(self, request: Request, *, at_us: int) -> HttpAnswer:
        """Answer plain HTTP: history, lists, log-in."""

    def is_moving(self, symbol: str) -> bool:
        """Return whether any socket ever subscribed that market: from then on its price moves."""

    def tick(self, symbol: str, *, at_us: int) -> None:
        """Move a market's price, remember it, and deliver it to whoever watches it, if it is open."""

    def lock(self, symbol: str | None, *, until_us: int | None, at_us: int) -> None:
        """Close a market, None: all of them; and say so as the venue does. `until_us`: when it opens."""

    def unlock(self, symbol: str | None, *, at_us: int) -> None:
        """Open it again, and say so."""

    def pass_time(self, *, at_us: int) -> None:
        """Called every second or so: what opens, closes or expires by the clock does."""

    def announce_shutdown(self) -> None:
        """Say to everybody that the venue restarts, where its protocol has a word for it."""
