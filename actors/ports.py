"""What a connection and its markets know of each other, over all of their runs. Owned by the tree."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from actors.mailbox import BatchMailbox, Link, Mailbox
from domain.gaps import GapTracker
from domain.hours import MarketHours
from domain.instruments import Catalog, latest
from domain.market import Tick
from domain.messages import Request, Unsubscribe
from domain.skew import ClockSkew
from domain.stamping import Stamper
from domain.states import ConnectionRow, MarketRow
from venues.events import Balance
from venues.protocol import Venue
from venues.settings import VenueSettings

if TYPE_CHECKING:
    from wire.recording import Recorder

# Takes the task, who is told what it failed with (None: it returned), and the task's name.
Spawn = Callable[[Callable[[], Awaitable[None]], Callable[[Exception | None], None], str], None]


@attrs.define(kw_only=True, eq=False)
class MarketPort:
    """What the connection knows of one of its markets."""

    row: MarketRow
    mailbox: BatchMailbox[list[Tick]]
    stamper: Stamper
    gaps: GapTracker
    hours: MarketHours
    changed: Callable[[], None]
    is_unknown: bool = False  # the venue lists no such market


class Pace:
    """Spaces frames: when the next one may be sent, monotonic."""

    __slots__ = ("_free_at",)

    def __init__(self) -> None:
        self._free_at = 0.0

    def take_turn(self, *, at: float, spacing_s: float) -> float:
        """Return when a frame that is ready at `at` may be sent; the next one comes after it."""
        turn_at = max(at, self._free_at)
        self._free_at = turn_at + spacing_s
        return turn_at


@attrs.define(kw_only=True, eq=False)
class VenuePlace:
    """What all connections of one venue share.

    `read_token` raises `PermanentError` with what to do; `token_refused` is told which one the venue
    did not take; `list_markets` is awaited before each connect, and raises nothing; `listed` is called
    after each listing, `terms_told` after word on payouts or stake limits. `pace` is that of all
    sockets together, where the venue counts so.
    """

    name: str
    venue: Venue
    settings: VenueSettings
    catalog: Catalog
    skew: ClockSkew
    read_token: Callable[[], str | None]
    token_refused: Callable[[str | None], None]
    listed: Callable[[], None]
    terms_told: Callable[[], None]
    wait_turn: Callable[[], Awaitable[None]]
    recorder: "Recorder | None"
    list_markets: Callable[[], Awaitable[None]] | None = None
    balances: dict[str, Balance] = attrs.field(factory=dict)  # by account
    told: set[str] = attrs.field(factory=set)  # kinds of unknown messages that were said
    pace: Pace = attrs.field(factory=Pace)

    def take_balances(self, balances: Sequence[Balance]) -> None:
        """Take note of what accounts hold."""
        self.balances = latest(self.balances | {each.account: each for each in balances})


@attrs.define(kw_only=True, eq=False)
class ConnectionPlace:
    """All that outlives a connection's runs.

    `ports` are by the symbols of the settings; `wired` are those the venue was asked for, by its own.
    `spawn` runs a task beside the connection's own, and tells how it ended.
    """

    row: ConnectionRow
    shared: VenuePlace
    link: Link
    requests: Mailbox[Request]
    ports: dict[str, MarketPort]
    ticks: BatchMailbox[list[Tick]]  # the writer's
    changed: Callable[[], None]
    spawn: Spawn
    wired: dict[str, MarketPort] = attrs.field(factory=dict)

    def let_go(self, port: MarketPort, *, symbol: str) -> None:
        """Take no price of a market from now on, which is stopped or removed, and unsubscribe it."""
        for name in [name for name, each in self.wired.items() if each is port]:
            del self.wired[name]
        self.requests.put_nowait(Unsubscribe(symbol=symbol))
