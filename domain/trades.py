"""Fixed-time trades: the words, the states and which may follow which, the rows of the ledger.

Money is Decimal in the account's currency; percents are floats; times are microseconds, UTC.
`decided_us`, `intended_us`, `sent_us` and `settled_us` are our clock's, all others the venue's, as its
ticks carry them. The rows are NamedTuples, because the journal holds them.
"""

import enum
import hashlib
from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

import attrs

from domain.errors import InvariantError

CENT = Decimal("0.01")
ID_BITS = 53  # whole numbers that every reader of JSON takes


class Mode(enum.StrEnum):
    """Whose money it is; records of the three never mix. `trade.mode`."""

    PAPER = "paper"  # our own settlement, nobody's money
    DEMO = "demo"  # the venue's practice account
    REAL = "real"


class Direction(enum.StrEnum):
    """Whether the price is to be higher or lower at the end."""

    UP = "up"
    DOWN = "down"


class TradeState(enum.StrEnum):
    """Where a trade is; `trade.state` and `trade_event.state`."""

    INTENDED = "intended"
    SENT = "sent"
    OPEN = "open"
    WON = "won"
    LOST = "lost"
    TIED = "tied"
    VOID = "void"  # no trustworthy price at its end: the stake is back, out of the win rate
    REFUSED = "refused"  # never opened
    UNKNOWN = "unknown"  # nobody knows yet; counted against every limit
    FOREIGN = "foreign"  # opened elsewhere on the same account


FINAL = frozenset({TradeState.WON, TradeState.LOST, TradeState.TIED, TradeState.VOID, TradeState.REFUSED})
SETTLED = FINAL - {TradeState.REFUSED}

# What may follow: a venue's word on a result may overtake its word on the opening.
MAY_FOLLOW: Mapping[TradeState, frozenset[TradeState]] = {
    TradeState.INTENDED: frozenset({TradeState.SENT, TradeState.REFUSED, TradeState.UNKNOWN}),
    TradeState.SENT: frozenset({TradeState.OPEN, TradeState.REFUSED, TradeState.UNKNOWN}) | SETTLED,
    TradeState.OPEN: frozenset({TradeState.UNKNOWN}) | SETTLED,
    TradeState.UNKNOWN: frozenset({TradeState.OPEN, TradeState.REFUSED}) | SETTLED,
    TradeState.FOREIGN: frozenset({TradeState.FOREIGN}),
}


def check_follows(before: TradeState, after: TradeState) -> None:
    """Raise `InvariantError` where a trade cannot go from one state to the other."""
    if after not in MAY_FOLLOW.get(before, frozenset()):
        raise InvariantError(f"a trade cannot become {after} that is {before}")


def stable_id(*parts: str | int) -> int:
    """Return an id from 0 up that the same parts always make, below 2**53."""
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> (64 - ID_BITS)


def profit_of(state: TradeState, *, stake: Decimal, payout_percent: float) -> Decimal:
    """Return what a settled trade has brought: its payout to the cent, rounded down, or minus its stake."""
    match state:
        case TradeState.WON:
            return (stake * Decimal(str(payout_percent)) / 100).quantize(CENT, ROUND_DOWN)
        case TradeState.LOST:
            return -stake
    return Decimal(0)


class Signal(NamedTuple):
    """A strategy's wish, and what became of it; a row of `signal`.

    `ts_us` is the time of the tick it was decided on, `price` that tick's price, `price_age_ms` how old
    the price was by our clock. `inputs` is a JSON object of what it rests on. `outcome` is `approved` or
    `refused`, `reason` the name of the limit and a text, "" where it was approved.
    """

    id: int
    market: str
    strategy: str
    ts_us: int
    direction: str
    expiry_s: int
    price: float
    price_age_ms: int
    inputs: str
    outcome: str = ""
    reason: str = ""


class Trade(NamedTuple):
    """A row of `trade`, whole; a later one of the same id replaces it."""

    id: int
    signal_id: int
    market: str
    mode: str
    venue_trade_id: str | None
    direction: str
    stake: Decimal
    currency: str
    payout_percent: float
    state: str
    intended_us: int
    sent_us: int | None = None
    opened_us: int | None = None
    open_price: float | None = None
    expires_us: int | None = None
    settled_us: int | None = None
    close_price: float | None = None
    close_source: str | None = None  # "ticks" (our own), "venue"
    profit: Decimal | None = None


class TradeEvent(NamedTuple):
    """A step of a trade; a row of `trade_event`. Its id is of the trade's id and its number."""

    id: int
    trade_id: int
    ts_us: int
    state: str
    cause: str
    detail: str


LedgerRow = Signal | Trade | TradeEvent


@attrs.frozen(kw_only=True)
class Position:
    """A trade with what its signal says of it: what limits, ladders and brokers ask for."""

    trade: Trade
    strategy: str
    expiry_s: int
    ts_us: int  # of the tick it was decided on

    @property
    def state(self) -> TradeState:
        """Where it is."""
        return TradeState(self.trade.state)


@attrs.frozen(kw_only=True)
class Order:
    """An approved trade on its way to a broker, which decides by `send_by_us` (our clock) alone."""

    position: Position
    send_by_us: int


@attrs.frozen(kw_only=True)
class OrderSent:
    """The broker is about to send it."""

    trade_id: int
    at_us: int


@attrs.frozen(kw_only=True)
class OrderRefused:
    """It was never opened. `cause` is one word: `not_sent`, `not_durable`, or the venue's."""

    trade_id: int
    at_us: int
    cause: str
    detail: str = ""


@attrs.frozen(kw_only=True)
class TradeOpened:
    """It is open at the venue."""

    trade_id: int
    at_us: int
    opened_us: int
    open_price: float
    expires_us: int
    venue_trade_id: str | None = None


@attrs.frozen(kw_only=True)
class TradeSettled:
    """It has ended; `state` is won, lost, tied or void. `at_us` is our clock's and becomes `settled_us`."""

    trade_id: int
    at_us: int
    state: TradeState
    close_price: float | None
    close_source: str
    detail: str = ""


@attrs.frozen(kw_only=True)
class TradeUnknown:
    """Nobody knows what became of it."""

    trade_id: int
    at_us: int
    cause: str
    detail: str = ""


Outcome = OrderSent | OrderRefused | TradeOpened | TradeSettled | TradeUnknown
