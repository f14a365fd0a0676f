"""Olymp Trade's web socket, as its web client speaks it. There is no official description.

Every frame is an array of messages `{"e": code, "t": 1|2|3, "uuid"?, "d"?, "ts"?, "err"?}`. What a
client may do is said by a cookie of the upgrade; nothing logs in on the socket. Shapes and codes
are in `olymptrade_envelope.py` and `olymptrade_frames.py`, with what was recorded and what was not.
"""

from collections.abc import Callable, Sequence

import msgspec

from domain.contracts import ContractRules, OpensAt, Tie
from domain.errors import InvariantError, RemoteProtocolError
from domain.market import PriceUpdate
from venues import olymptrade_frames as frames
from venues.events import Payouts, Unknown, VenueEvent
from venues.offers import History, HistoryKind, HistoryPage, HistoryRequest
from venues.olymptrade_account import Account
from venues.olymptrade_envelope import OlympMessage, is_rejection, make_frame, read_error, read_frame
from venues.olymptrade_fields import KINDS, make_watch, new_fields
from venues.olymptrade_history import Histories
from venues.olymptrade_ids import Ids
from venues.olymptrade_instruments import InstrumentList
from venues.olymptrade_subscriptions import LATE, NO_SUCH_MARKET, TOO_FAST, OlympSubscriptions, unknown_error
from venues.olymptrade_token import REFRESH_TOKEN
from venues.olymptrade_upgrade import REFUSED_CLOSES, REFUSED_STATUSES, make_upgrade
from venues.protocol import Budget, SessionContext, TokenUse, Upgrade, Venue
from venues.samples import sample
from venues.settings import VenueSettings

# Two requests: what the web client subscribes (recorded 2025-07-04), and what clients tell of. If the
# venue should reject one for a code that it does not know, the other one brings what is needed most.
RECORDED_CODES = (22, 26, frames.BALANCES, frames.INSTRUMENTS, frames.STAKE_LIMITS)
OTHER_CODES = (21, frames.PAYOUTS_CHANGED, *frames.PAYOUT_CODES)
UNWANTED_TICK = Unknown("price of a market that nobody subscribed")
UNREADABLE_TICK = Unknown(f"unreadable {frames.TICK}")
UNREADABLE = (RemoteProtocolError, msgspec.DecodeError, ValueError, OverflowError, RecursionError)


class OlympTradeAdapter:
    """One session: its subscriptions, what it waits for, and what its frames say."""

    def __init__(self, context: SessionContext) -> None:
        self._make_id = Ids(started_us=context.started_us).make
        self._account = Account(wanted=context.settings.account, make_id=self._make_id)
        self._histories = Histories(self._make_id)
        self._instruments = InstrumentList()
        self._subscriptions = OlympSubscriptions(make_id=self._make_id, is_closed=self._instruments.is_closed)
        self._fields = make_watch()
        self._ping = ""

    def opening(self) -> list[str]:
        """Return the frames that ask for balances, lists, limits and payouts, which are pushed then."""
        return [
            make_frame(frames.EVENTS, codes, uuid=self._make_id()) for codes in (RECORDED_CODES, OTHER_CODES)
        ]

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the first frame of the line; the rest follows, each on the answer to the one before."""
        return self._subscriptions.subscribe(symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the first frame of the line, as `subscribe` does."""
        return self._subscriptions.unsubscribe(symbols)

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return one frame for all."""
        return self._subscriptions.leave(symbols)

    def ping(self) -> list[str]:
        """Return the application's ping, and what stands in line where an answer seems lost."""
        self._ping = self._make_id()
        return [make_frame(frames.PING, {}, uuid=self._ping), *self._subscriptions.ping_passes()]

    def refresh(self) -> list[str]:
        """Nothing to say: changes are pushed, and asking again is answered with nothing."""
        return []

    def ask_history(self, request: HistoryRequest) -> list[str]:
        """Return the frame that asks for the latest candles of the first part of it."""
        if request.timeframe_s is None:
            raise InvariantError("this venue's history is candles")
        return self._histories.ask(request, timeframe_s=request.timeframe_s)

    def receive(self, frame: str | bytes) -> Sequence[VenueEvent]:
        """Return what the messages of a frame say, in their order.

        One that cannot be read is told as `Unknown`, unless nothing else is in the frame.
        """
        events: list[VenueEvent] = []
        due: set[str] = set()
        faults: list[Exception] = []
        try:
            messages = read_frame(frame)
            for message in messages:
                if message is None:
                    events.append(Unknown("unreadable message"))
                    continue
                kind = KINDS.get(message.e)
                if kind is not None and self._fields.is_due(kind):
                    due.add(kind)
                try:
                    self._take(message, events)
                except UNREADABLE as exc:
                    faults.append(exc)
                    events.append(Unknown(f"unreadable {message.e}"))
            if faults and len(faults) == len(messages):
                raise faults[0]
            if due:
                events += new_fields(frame, due, self._fields)
        except UNREADABLE as exc:
            raise RemoteProtocolError(f"undecodable frame: {exc}", frame=sample(frame)) from exc
        return events

    def _take(self, message: OlympMessage, events: list[VenueEvent]) -> None:
        if message.e == frames.TICK:
            self._read_ticks(message.d, events)
        else:
            events += self._read(message)

    def _read_ticks(self, d: msgspec.Raw, events: list[VenueEvent]) -> None:
        symbols = self._subscriptions.symbols
        ticks = frames.read_ticks(d)
        for tick in ticks:
            if tick is None:
                events.append(UNREADABLE_TICK)
            elif tick.p not in symbols:
                events.append(UNWANTED_TICK)
            elif 0.0 < tick.t < frames.LATEST_S:
                events.append(PriceUpdate(tick.p, round(tick.t * frames.SECOND_US), None, tick.q))
            elif len(ticks) > 1:
                events.append(UNREADABLE_TICK)
            else:
                raise RemoteProtocolError(f"{tick.p}: {tick.t!r} is not a time in seconds")

    def _read(self, message: OlympMessage) -> list[VenueEvent]:
        reader = READERS.get(message.e)
        if reader is not None:
            return reader(self, message)
        if is_rejection(message):
            return [unknown_error(message.e, read_error(message.err))]
        return [] if message.e in frames.IGNORED_CODES else [Unknown(f"code {message.e}")]

    # --- answers ------------------------------------------------------------------------------

    def read_answer(self, message: OlympMessage) -> list[VenueEvent]:
        """An answer to one of the line."""
        return self._subscriptions.read_answer(message)

    def read_candles(self, message: OlympMessage) -> list[VenueEvent]:
        """An answer to `ask_history`, or why there is none."""
        part = self._histories.take_part(message.uuid)
        if part is None:
            return [LATE]
        if not is_rejection(message):
            return [self._histories.read(message, part)]
        # Never `Throttled`: how candles are asked for is not recorded, and what is wrong with that must
        # not cost a session its prices.
        error = read_error(message.err)
        if error.code not in (TOO_FAST, NO_SUCH_MARKET):
            return [unknown_error(message.e, error)]
        again = self._histories.repeat(part) if error.code == TOO_FAST else None
        return [again or HistoryPage(part.request.id, reason=error.reason)]

    def read_pong(self, message: OlympMessage) -> list[VenueEvent]:
        """`[{"e":90,"t":3,"uuid":"QLQS-bu","ts":1751668293}]` (recorded 2025-07-04)."""
        is_ours = message.uuid is not None and message.uuid == self._ping
        if is_ours:
            self._ping = ""  # a second answer would say nothing of the way there and back
        return [frames.read_server_time(message.ts, answers_ping=is_ours)]

    # --- what is pushed -----------------------------------------------------------------------

    def read_balances(self, message: OlympMessage) -> list[VenueEvent]:
        """All wallets."""
        return self._account.read(message)

    def read_stake_limits(self, message: OlympMessage) -> list[VenueEvent]:
        """The limits of fixed-time deals."""
        return [frames.read_stake_limits(message.d)]

    def read_payouts(self, message: OlympMessage) -> list[VenueEvent]:
        """An answer to 182, or a change."""
        if is_rejection(message):
            return [unknown_error(message.e, read_error(message.err))]
        return self._tell_payouts(frames.read_payouts(message.d))

    def read_some_payouts(self, message: OlympMessage) -> list[VenueEvent]:
        """Payouts among other things; the rest means nothing to us."""
        payouts = frames.read_some_payouts(message.d)
        return [] if payouts is None else self._tell_payouts(payouts)

    def _tell_payouts(self, payouts: Payouts) -> list[VenueEvent]:
        unlisted = self._instruments.read_paying(payouts.percents)
        return [payouts, unlisted] if unlisted.instruments else [payouts]

    def read_instruments(self, message: OlympMessage) -> list[VenueEvent]:
        """The list of markets, or changes of it."""
        listing, spoilt = self._instruments.read(message.d)
        events: list[VenueEvent] = [listing] if listing.instruments else []
        return [*events, *[Unknown(f"item of {message.e}")] * spoilt]


READERS: dict[int, Callable[[OlympTradeAdapter, OlympMessage], list[VenueEvent]]] = {
    **dict.fromkeys(frames.LINE_CODES, OlympTradeAdapter.read_answer),
    frames.CANDLES: OlympTradeAdapter.read_candles,
    frames.CANDLES_GUESSED: OlympTradeAdapter.read_candles,
    frames.PING: OlympTradeAdapter.read_pong,
    frames.BALANCES: OlympTradeAdapter.read_balances,
    frames.STAKE_LIMITS: OlympTradeAdapter.read_stake_limits,
    frames.PAYOUTS: OlympTradeAdapter.read_payouts,
    frames.PAYOUTS_CHANGED: OlympTradeAdapter.read_payouts,
    **dict.fromkeys(frames.PAYOUT_CODES, OlympTradeAdapter.read_some_payouts),
    frames.INSTRUMENTS: OlympTradeAdapter.read_instruments,
}


def _make_upgrade(settings: VenueSettings, token: str | None) -> Upgrade:
    return make_upgrade(VENUE.address(settings.url), token)


# As one client's captured deals have it (2026-08): `curs_open` is the price at `time_open`, the server's
# own time, and the end is exactly `duration` later, wherever in a candle that is. `flat` gives the stake
# back. `time_open` came 195 ms after the client's stamp; the price decided on is that old once more.
# Durations of 60, 300 and 900 s are attested; a bound is not known, ours is a day.
CONTRACT = ContractRules(
    opens_at=OpensAt.LAST_BEFORE,
    tie=Tie.REFUNDED,
    latency_us=500_000,
    least_expiry_s=60,
    most_expiry_s=86_400,
    payout_percent=None,
)

VENUE = Venue(
    protocol="olymptrade",
    url="wss://ws.olymptrade.com/otp",
    sources=("quotes",),
    default_source="quotes",
    # No limit is known. One socket for an account: all that is listed (106) and its variants fit.
    markets_per_connection=250,
    most_connections=1,
    # No limit is known either. Ours: one in 15 s on average, as somebody with a browser may do. The
    # backoff of an outage stays below, and a few starts by hand too; a crash loop does not.
    connect_budgets=(Budget(20, 300),),
    frame_spacing_s=0.1,
    make_adapter=OlympTradeAdapter,
    contract=CONTRACT,
    make_upgrade=_make_upgrade,
    token=TokenUse.REQUIRED,
    refresh_token=REFRESH_TOKEN,
    permanent_statuses=REFUSED_STATUSES,
    permanent_closes=REFUSED_CLOSES,
    ping_every_s=25.0,  # one client's; the limit of silence is not known
    lists_markets=True,
    history=History(kind=HistoryKind.CANDLES, spacing_s=1.0),
)
