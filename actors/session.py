"""What one session with a venue means: frames in, requests in, frames out. Awaits nothing."""

import logging
from collections.abc import Iterable, Sequence

from actors.asking import Asking
from actors.intake import Intake
from actors.ports import ConnectionPlace
from domain.errors import (
    ConnectionLost,
    PermanentError,
    RemoteProtocolError,
    UnknownSymbol,
    VenueThrottled,
)
from domain.events import Event, emit
from domain.instruments import Listing
from domain.market import PriceUpdate, Tick
from domain.messages import Request
from domain.skew import ClockNews
from venues.events import (
    Balances,
    Closed,
    Denied,
    Leaving,
    NewFields,
    Payouts,
    Refused,
    Send,
    ServerTime,
    StakeLimits,
    Subscribed,
    Throttled,
    Unknown,
    VenueEvent,
)
from venues.offers import HistoryPage
from venues.protocol import Adapter

MAX_UNDECODABLE = 20  # in a row: then the peer speaks another protocol, and the socket is dropped
MOST_HELD = 65_536  # prices of a socket that is to take over
SAMPLE_CHARACTERS = 250  # of a message that could not be decoded
MOST_TOLD = 100  # kinds of unknown messages that are said, each once


class Session:
    """The state of one session, what is asked of it (`asking`), and the frames to be sent."""

    __slots__ = (
        "_held_prices",
        "_intake",
        "_place",
        "_row",
        "_shared",
        "_undecodable_in_a_row",
        "adapter",
        "asking",
        "has_left",
        "is_leaving",
        "outgoing",
        "pinged_us",
        "token",
    )

    def __init__(
        self, place: ConnectionPlace, *, adapter: Adapter, number: int, token: str | None = None
    ) -> None:
        self.adapter = adapter
        self.asking = Asking(place, adapter=adapter, number=number)
        self.outgoing: list[str] = []
        self.pinged_us: int | None = None  # when the venue's own ping was sent
        self.is_leaving = False  # the venue said that it will close this socket
        self.has_left = False  # it confirmed our goodbye
        self.token = token
        self._place = place
        self._row = place.row
        self._shared = place.shared
        self._intake = Intake(place)
        self._held_prices: list[tuple[PriceUpdate, int, float]] | None = None
        self._undecodable_in_a_row = 0

    # --- what comes in ------------------------------------------------------------------------

    def handle(self, frame: str | bytes, *, received_us: int, at: float) -> None:
        """Take one message: record it, decode it, hand its ticks on, and do what else it says.

        `received_us` is the wall clock's time, `at` the monotonic clock's. What is to be sent now is
        in `outgoing`. Raises `PermanentError`, `VenueThrottled`, and `RemoteProtocolError` after 20
        undecodable messages in a row.
        """
        self._row.frames += 1
        if self._shared.recorder is not None:
            self._shared.recorder.record_in(
                frame if isinstance(frame, str) else frame.decode(errors="replace")
            )
        try:
            events = self.adapter.receive(frame)
        except RemoteProtocolError as error:
            error.frame = self._sample(frame)
            self._count_undecodable(error)
            return
        ticks: list[Tick] = []
        try:
            for event in events:
                if type(event) is PriceUpdate:
                    tick = self._take_price(event, received_us=received_us, at=at)
                    if tick is not None:
                        ticks.append(tick)
                else:
                    self._undecodable_in_a_row = 0
                    self._take_event(event, received_us=received_us)
        finally:  # what came before a word that ends the session has come
            if ticks:
                self._intake.hand_over(ticks)

    def hold_prices(self) -> None:
        """Keep the prices that come: another session's earlier ones are still on their way."""
        self._held_prices = []

    def release_prices(self) -> None:
        """Take the prices that were kept, and from now on each as it comes."""
        held, self._held_prices = self._held_prices or [], None
        ticks = [self._take_price(update, received_us=us, at=at) for update, us, at in held]
        if taken := [tick for tick in ticks if tick is not None]:
            self._intake.hand_over(taken)

    def _take_price(self, update: PriceUpdate, *, received_us: int, at: float) -> Tick | None:
        if self._held_prices is not None:
            if len(self._held_prices) >= MOST_HELD:
                raise ConnectionLost("too many prices came before this socket could take over")
            self._held_prices.append((update, received_us, at))
            return None
        try:
            tick = self._intake.take(update, received_us=received_us, at=at)
        except RemoteProtocolError as error:
            self._count_undecodable(error)
            return None
        self._undecodable_in_a_row = 0
        return tick

    def _take_event(self, event: VenueEvent, *, received_us: int) -> None:  # noqa: C901, PLR0912 - a table
        match event:
            case Subscribed(symbols):
                self.asking.subscriptions.confirm(symbols)
                self.has_left = self.has_left or not symbols
            case Refused(symbols, reason):
                self._take_refusal(symbols, reason, at_us=received_us)
            case Closed(symbols, reason):
                self._take_closed(symbols, reason, at_us=received_us)
            case Send(frames):
                self.outgoing += frames
            case Listing():
                self._take_listing(event, at_us=received_us)
            case ServerTime():
                self._take_time(event, received_us=received_us)
            case Balances(balances):
                self._shared.take_balances(balances)
            case Payouts(percents):
                self._shared.catalog.take_payouts(percents)
                self._shared.terms_told()
            case StakeLimits(limits):
                self._shared.catalog.take_stake_limits(limits)
                self._shared.terms_told()
            case HistoryPage():
                self.asking.take_page(event)
            case Leaving(reason):
                self.is_leaving = True
                self._say(Event.STATE, f"{self._row.name}: the venue will close this socket: {reason}")
            case Denied(reason):
                self._shared.token_refused(self.token)
                raise PermanentError(f"{self._row.venue} does not let us in: {reason}")
            case Throttled(reason, retry_after_s):
                raise VenueThrottled(f"{self._row.venue}: {reason}", retry_after_s=retry_after_s)
            case Unknown(kind):
                self._row.unknown_frames += 1
                self._tell_once(f"unknown message {kind!r}")
            case NewFields(kind, fields):
                self._row.new_fields += len(fields)
                self._tell_once(f"new fields in {kind!r}: {', '.join(fields)}")

    def _take_refusal(self, symbols: Sequence[str], reason: str, *, at_us: int) -> None:
        if self._held_prices is not None:
            raise ConnectionLost(f"refused {', '.join(symbols)}, which the socket before has: {reason}")
        for symbol in symbols:
            port = self._place.wired.get(symbol)
            if port is not None:
                port.gaps.refuse(at_us=at_us)
                # Asked for unchecked, by the settings' name: a list may show what it is called.
                port.is_unknown = self._shared.catalog.listed_us is None
        self.asking.subscriptions.refuse(symbols, reason)

    def _take_closed(self, symbols: Sequence[str], reason: str, *, at_us: int) -> None:
        for symbol in symbols:
            port = self._place.wired.get(symbol)
            if port is not None and port.hours.refused(at_us=at_us):
                port.changed()
        self.asking.subscriptions.put_off(symbols, reason)

    def _take_time(self, told: ServerTime, *, received_us: int) -> None:
        sent_us = self.pinged_us if told.answers_ping else None
        if told.answers_ping:
            self.pinged_us = None
        if sent_us is not None:
            self._row.rtt_ms = max(0.0, (received_us - sent_us) / 1_000)
        skew = self._shared.skew
        news = skew.heard(
            server_us=told.ts_us, resolution_us=told.resolution_us, sent_us=sent_us, received_us=received_us
        )
        if news is ClockNews.OFF:
            skew_s = (skew.skew_ms or 0.0) / 1_000
            self._say(
                Event.CLOCK,
                f"our clock is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} that of "
                f"{self._row.venue}: have this machine's clock set over the network",
            )
        elif news is ClockNews.GOOD_AGAIN:
            self._say(Event.CLOCK, f"our clock and that of {self._row.venue} agree again", level=logging.INFO)

    def _take_listing(self, listing: Listing, *, at_us: int) -> None:
        catalog = self._shared.catalog
        catalog.take(listing, at_us=at_us)
        for port in self._place.ports.values():
            try:
                instrument = catalog.find(port.row.symbol)
            except UnknownSymbol:
                continue  # said when it asks to be subscribed
            if port.hours.listed(instrument, at_us=at_us) and port.hours.is_closed:
                port.changed()  # of an opening its market tells
        self.asking.listed()
        self._place.link.poke()
        self._shared.listed()

    def _count_undecodable(self, error: RemoteProtocolError) -> None:
        self._row.unknown_frames += 1
        self._undecodable_in_a_row += 1
        self._say(Event.FRAME, f"{self._row.name}: {error}", sample=error.frame)
        if self._undecodable_in_a_row >= MAX_UNDECODABLE:
            raise RemoteProtocolError(
                f"{MAX_UNDECODABLE} undecodable messages in a row, the last: {error}", frame=error.frame
            )

    def _sample(self, frame: str | bytes) -> str:
        """Return the beginning of a frame, for the log, without what names an account or opens it."""
        from wire.blanking import blank, blank_literally  # noqa: PLC0415 - by broken messages only

        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        text = blank(text[: 10 * SAMPLE_CHARACTERS])
        if self.token is not None:
            text = blank_literally(text, self.token)
        return text[:SAMPLE_CHARACTERS]

    def _tell_once(self, what: str) -> None:
        told = self._shared.told
        if what not in told and len(told) < MOST_TOLD:
            told.add(what)
            message = f"{self._row.name}: {what}; counted from here on"
            self._say(Event.UNKNOWN, message, level=logging.INFO, reason=what)

    def _say(self, event: Event, message: str, *, level: int = logging.WARNING, **fields: str) -> None:
        emit(
            event,
            message,
            level=level,
            actor=f"connection/{self._row.name}",
            **fields,
        )

    # --- what is to be sent -------------------------------------------------------------------

    @property
    def has_more(self) -> bool:
        """Whether there is something to send that nobody asks for just now."""
        return bool(self.outgoing) or self.asking.is_released

    def plan(self, requests: Iterable[Request]) -> list[str]:
        """Return the frames to send now: what is due anyway, and what these requests need together."""
        frames, self.outgoing = self.outgoing, []
        return frames + self.asking.plan(requests)

    def go_on_unlisted(self) -> None:
        """The venue sends no list of its markets: ask for them unchecked, as the settings name them."""
        if self.asking.listed():
            self._say(
                Event.HOURS,
                f"{self._row.name}: no list of markets came; going on as the settings name them, unchecked",
            )
