"""How actors talk: mailboxes, one-shot answers, and the link a connection's markets share.

All of them are owned by the tree, which outlives every actor: an actor that crashes loses
neither its mailbox nor what is in it, and nobody waits for ever on a dead one.
"""

import math
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

import attrs
import trio

from domain.errors import MarketdError
from domain.gaps import GapLedger
from domain.market import HistoryCandle, Tick
from domain.messages import ActorEvent, KeepLedger

Message = TypeVar("Message")
Batch = TypeVar("Batch", bound=Sized)
Value = TypeVar("Value")


CANDLES_BOUND = 10_000  # of a venue's history, on their way to the writer
LEDGER_BOUND = 1_000  # messages; a daemon that trades waits for each


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@attrs.frozen(kw_only=True)
class MailboxStatistics:
    """What `status` shows: `used`, `bound`, `peak` and `dropped` count items, not messages."""

    used: int
    bound: int
    peak: int
    dropped: int


class BatchMailbox(Generic[Batch]):
    """A trio memory channel of lists, bounded by the number of items in them.

    When full, the oldest lists are taken out and counted as dropped: a tick path never waits.
    `on_drop` is told each of them.
    """

    __slots__ = ("_receive", "_send", "bound", "dropped", "name", "on_drop", "peak", "used")

    def __init__(self, *, name: str, bound: int, on_drop: Callable[[Batch], None] = _ignore) -> None:
        self.name = name
        self.on_drop = on_drop
        self.bound = bound
        self.used = self.peak = self.dropped = 0
        # Messages are not what is bounded: `used` is, by put_nowait.
        self._send, self._receive = trio.open_memory_channel[Batch](math.inf)

    def put_nowait(self, batch: Batch) -> int:
        """Put a non-empty list in; return how many older items were dropped to make room."""
        before = self.dropped
        self.used += len(batch)
        self._send.send_nowait(batch)
        while self.used > self.bound and self._drop_oldest():
            pass
        self.peak = max(self.peak, self.used)
        return self.dropped - before

    def drop_all(self) -> None:
        """Drop what is in it: nobody will take it out any more."""
        while self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        """Drop the oldest list; return whether there was one."""
        try:
            oldest = self.get_nowait()
        except trio.WouldBlock:
            return False  # handed straight to a waiting receiver
        self.dropped += len(oldest)
        self.on_drop(oldest)
        return True

    async def get(self) -> Batch:
        """Wait for the oldest list and take it."""
        batch = await self._receive.receive()
        self.used -= len(batch)
        return batch

    def get_nowait(self) -> Batch:
        """Take the oldest list; raise `trio.WouldBlock` where there is none."""
        batch = self._receive.receive_nowait()
        self.used -= len(batch)
        return batch

    def statistics(self) -> MailboxStatistics:
        """Return the figures for status."""
        return MailboxStatistics(used=self.used, bound=self.bound, peak=self.peak, dropped=self.dropped)


class Mailbox(Generic[Message]):
    """A trio memory channel of single messages with a bound; what does not fit is counted.

    `on_put` is called when a message was put in; it is set by who drains it and wants to be woken.
    """

    __slots__ = ("_receive", "_send", "bound", "dropped", "name", "on_put", "peak")

    def __init__(self, *, name: str, bound: int) -> None:
        self.name = name
        self.bound = bound
        self.on_put: Callable[[], None] = _ignore
        self.peak = self.dropped = 0
        self._send, self._receive = trio.open_memory_channel[Message](bound)

    def put_nowait(self, message: Message) -> bool:
        """Put a message in; return False, and count it as dropped, where there is no room."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            self.dropped += 1
            return False
        self.peak = max(self.peak, self.used)
        self.on_put()
        return True

    async def put(self, message: Message) -> None:
        """Put a message in, waiting for room."""
        await self._send.send(message)
        self.peak = max(self.peak, self.used)
        self.on_put()

    async def get(self) -> Message:
        """Wait for the oldest message and take it."""
        return await self._receive.receive()

    def get_nowait(self) -> Message:
        """Take the oldest message; raise `trio.WouldBlock` where there is none."""
        return self._receive.receive_nowait()

    @property
    def used(self) -> int:
        """How many messages are in it."""
        return self._receive.statistics().current_buffer_used

    def statistics(self) -> MailboxStatistics:
        """Return the figures for status."""
        return MailboxStatistics(used=self.used, bound=self.bound, peak=self.peak, dropped=self.dropped)


@attrs.frozen(kw_only=True)
class Inbox:
    """All that reaches the writer: ticks, events, the gaps that changed, candles, the ledger's rows.

    Owned by the tree.
    """

    ticks: BatchMailbox[list[Tick]]
    events: Mailbox[ActorEvent]
    gaps: GapLedger
    candles: BatchMailbox[list[HistoryCandle]] = attrs.field(
        factory=lambda: BatchMailbox(name="writer/candles", bound=CANDLES_BOUND)
    )
    ledger: Mailbox[KeepLedger] = attrs.field(
        factory=lambda: Mailbox(name="writer/money", bound=LEDGER_BOUND)
    )


class Answer(Generic[Value]):
    """The answer to one request: set once, or failed with an error of ours."""

    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: Value | None = None
        self._error: MarketdError | None = None

    def set(self, value: Value) -> None:
        """Give the answer; a second one is ignored."""
        if not self._event.is_set():
            self._value = value
            self._event.set()

    def fail(self, error: MarketdError) -> None:
        """Answer with an error, raised at whoever waits."""
        if not self._event.is_set():
            self._error = error
            self._event.set()

    async def wait(self) -> Value:
        """Wait for the answer; raise the error it failed with. The deadline is the caller's."""
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set() put it there


class Link:
    """Whether a connection's socket is open, as the markets that share it see it.

    Each opening has a number of its own, so that a market which waited at the gate can tell that
    the socket it was waiting for is gone. Written by the connection actor only.
    """

    __slots__ = ("_changed", "is_up", "session")

    def __init__(self) -> None:
        self.session = 0
        self.is_up = False
        self._changed = trio.Event()

    def set_up(self) -> int:
        """Open a new session; return its number."""
        self.session += 1
        self._set(is_up=True)
        return self.session

    def set_down(self) -> None:
        """End the session, if one is open."""
        if self.is_up:
            self._set(is_up=False)

    def poke(self) -> None:
        """Wake everybody who waits on it: there is news of a market."""
        self._changed.set()
        self._changed = trio.Event()

    def _set(self, *, is_up: bool) -> None:
        self.is_up = is_up
        self.poke()

    def has(self, session: int) -> bool:
        """Return whether that very session is still open."""
        return self.is_up and self.session == session

    async def wait_up(self) -> int:
        """Wait until a session is open; return its number."""
        while not self.is_up:
            await self._changed.wait()
        return self.session

    async def wait_news(self, session: int) -> None:
        """Wait for news, or until that session is no longer open."""
        if self.has(session):
            await self._changed.wait()
