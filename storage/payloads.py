"""What a batch of the journal holds, as bytes and back, and the checksum that guards it."""

import enum
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import attrs
import msgspec

from domain.gaps import Gap, GapFill
from domain.market import HistoryCandle, Tick
from domain.messages import ActorEvent
from domain.trades import LedgerRow, Signal, Trade, TradeEvent

ACTOR_LENGTH = 128  # characters, as in the schema
EVENT_LENGTH = 32
DETAIL_LENGTH = 4_000  # characters: up to 16,000 of TEXT's 65,535 bytes
STRATEGY_LENGTH = 128
CAUSE_LENGTH = 64
INPUTS_LENGTH = 4_000


class Lane(enum.StrEnum):
    """What is stored first everywhere (money, and what explains it), and the rest (ticks)."""

    MONEY = "money"
    TICKS = "ticks"


class EventRow(NamedTuple):
    """A row of `actor_event`. Its id is given once, when it is accepted, and kept over retries."""

    id: int
    ts_us: int
    actor: str
    event: str
    detail: str


class Money(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rows of a batch of the money lane, by table; `fills` belong to gaps of this or an earlier one.

    Of several rows of one trade the last is the latest word on it.
    """

    gaps: list[Gap] = []
    events: list[EventRow] = []
    fills: list[GapFill] = []
    candles: list[HistoryCandle] = []
    signals: list[Signal] = []
    trades: list[Trade] = []
    trade_events: list[TradeEvent] = []

    def __len__(self) -> int:
        return (
            len(self.gaps)
            + len(self.events)
            + len(self.fills)
            + len(self.candles)
            + len(self.signals)
            + len(self.trades)
            + len(self.trade_events)
        )


Rows = Money | Sequence[Tick]


@attrs.frozen(kw_only=True)
class JournalBatch:
    """One accepted batch.

    `(journal_id, lane, number)` names it for ever; `position` is its place in its lane's order,
    over all journal ids, as the journal's file has it.
    """

    lane: Lane
    journal_id: int
    number: int
    position: int
    rows: Rows


class EventNumbers:
    """Gives events their ids: the wall clock in microseconds, or one more than the last."""

    def __init__(self) -> None:
        self._last = 0

    def row(self, event: ActorEvent, *, at_us: int) -> EventRow:
        """Return the row of an event accepted at `at_us`, its texts cut to what the table takes."""
        self._last = max(self._last + 1, at_us)
        return EventRow(
            id=self._last,
            ts_us=event.ts_us,
            actor=_storable(event.actor)[:ACTOR_LENGTH],
            event=_storable(event.event)[:EVENT_LENGTH],
            detail=_storable(event.detail)[:DETAIL_LENGTH],
        )


def storable_row(row: LedgerRow) -> LedgerRow:
    """Return the row with its texts cut to what the table takes: they come from strategies and venues.

    Inputs that are too long are said to be, since half a JSON object is none.
    """
    match row:
        case Signal():
            inputs = _storable(row.inputs)
            return row._replace(
                strategy=_storable(row.strategy)[:STRATEGY_LENGTH],
                inputs=inputs if len(inputs) <= INPUTS_LENGTH else f'{{"too_long": {len(inputs)}}}',
                reason=_storable(row.reason)[:DETAIL_LENGTH],
            )
        case TradeEvent():
            return row._replace(
                cause=_storable(row.cause)[:CAUSE_LENGTH], detail=_storable(row.detail)[:DETAIL_LENGTH]
            )
    return row


# Ticks are NamedTuples: MessagePack holds them as arrays, 70 bytes each, at 0.2 µs a tick.
encode = msgspec.msgpack.Encoder().encode
_decode_ticks = msgspec.msgpack.Decoder(list[Tick]).decode
_decode_money = msgspec.msgpack.Decoder(Money).decode


def decode(lane: Lane, payload: bytes) -> Rows:
    """Return the rows of a payload; raise ValueError where it is none of ours."""
    return _decode_ticks(payload) if lane is Lane.TICKS else _decode_money(payload)


def checksum(payload: bytes, *, journal_id: int, lane: Lane, number: int, rows: int) -> int:
    """Return the CRC-32 over all that a batch says: it tells every flipped byte."""
    name = b"%d %s %d %d" % (journal_id, lane.encode(), number, rows)
    return zlib.crc32(payload, zlib.crc32(name))


def _storable(text: str) -> str:
    # A lone surrogate (a broken byte in a file's name) cannot be sent; NUL ends a text elsewhere.
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
