"""Deriv, in both of its dialects; messages are nearly the same. `deriv_frames` names the sources.

The new dialect (default) needs neither a log-in nor an application's id for prices; a token belongs to
its trading socket, which is another one. The legacy one (v3) takes no new applications any more.
"""

from collections.abc import Callable, Sequence

from domain.contracts import ContractRules, OpensAt, Tie
from domain.errors import RemoteProtocolError
from venues.deriv_address import LEGACY, NEW_URL, check_settings, make_upgrade
from venues.deriv_errors import Failure, failure_of, meant_for_all, reason_of
from venues.deriv_frames import (
    KNOWN_FIELDS,
    SECOND_US,
    UNREADABLE,
    DerivError,
    DerivFrame,
    DerivTick,
    fields_of,
    read_account,
    read_balance,
    read_frame,
    read_price,
    read_tick_frame,
    read_time_us,
    request,
)
from venues.deriv_history import TIMEFRAMES_S, DerivHistory
from venues.deriv_listing import DerivListing
from venues.deriv_subscriptions import DerivSubscriptions
from venues.events import (
    Balances,
    Closed,
    NewFields,
    Refused,
    Send,
    ServerTime,
    Subscribed,
    Unknown,
    VenueEvent,
)
from venues.new_fields import FieldWatch
from venues.offers import History, HistoryKind, HistoryRequest
from venues.protocol import Budget, SessionContext, TokenUse, Venue
from venues.samples import MOST_LETTERS, sample

MAY_PASS = (Failure.THROTTLED, Failure.PASSING, Failure.CLOSED)
NOT_TO_BE_HAD = (Failure.REFUSED, Failure.CLOSED, Failure.DENIED)  # of the past


class DerivAdapter:
    """One socket's subscriptions, requests and frames.

    Each price is asked for by a request of its own, so that a refusal says whose it is. A market's
    hours are asked for, one market at a time, when no subscription waits for its answer.
    """

    def __init__(self, context: SessionContext) -> None:
        self._is_legacy = context.settings.dialect == LEGACY
        self._token = context.token if self._is_legacy else None
        self._last_id = 0
        self._subscriptions = DerivSubscriptions(next_id=self._next_id)
        self._history = DerivHistory()
        self._listing = DerivListing(now_us=context.started_us)
        self._groups: dict[str, str] = {}  # account → demo or real
        self._asked: dict[int, str] = {}  # other requests → their call
        self._ping_id = -1  # of the latest `time` that measures the way
        self._lost_id = -1  # of the one before: what was asked earlier is not answered any more
        self._fields = FieldWatch(KNOWN_FIELDS)
        self._readers: dict[str, Callable[[DerivFrame], Sequence[VenueEvent]]] = {
            "active_symbols": self._take_listing,
            "authorize": self._take_account,
            "balance": self._take_balance,
            "candles": self._take_candles,
            "contracts_for": self._take_hours,
            "forget": self._take_forgotten,
            "forget_all": self._take_goodbye,
            "history": self._take_history,
            "ping": self._take_nothing,
            "tick": self._take_confirmation,
            "time": self._take_time,
        }

    # --- what goes out ------------------------------------------------------------------------

    def opening(self) -> list[str]:
        """Log in where there is a token to do so; the list of markets comes after that."""
        if self._token is not None:
            return [self._ask("authorize", authorize=self._token)]
        return self.refresh()

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return a frame a symbol."""
        return [frame for symbol in symbols for frame in self._subscriptions.subscribe(symbol)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return a frame for each symbol whose subscription the venue confirmed."""
        return [frame for symbol in symbols for frame in self._subscriptions.unsubscribe(symbol)]

    def leave(self, symbols: Sequence[str]) -> list[str]:
        """Return one frame that ends the prices of all."""
        return [self._ask("forget_all", forget_all="ticks")]

    def ping(self) -> list[str]:
        """Ask for the venue's clock, and ping: it closes after two minutes without a request."""
        clock = self._ask("time", time=1)
        self._lost_id, self._ping_id = self._ping_id, self._last_id
        return [clock, self._ask("ping", ping=1)]

    def refresh(self) -> list[str]:
        """Ask for the list of markets."""
        return [self._ask("active_symbols", active_symbols="brief")]

    def ask_history(self, wish: HistoryRequest) -> list[str]:
        """Ask for the oldest page of it."""
        return [self._history.ask(wish, req_id=self._next_id())]

    def _ask(self, call: str, **fields: object) -> str:
        req_id = self._next_id()
        self._asked[req_id] = call
        return request(**fields, req_id=req_id)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    # --- what comes in ------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> Sequence[VenueEvent]:
        """Return what the frame says; prices that nobody subscribed are `Unknown`."""
        try:
            message = read_tick_frame(frame)
            if message.tick is not None and not self._subscriptions.has_asked(message.req_id):
                return self._take_tick(message.tick, frame)
            return self._take_other(read_frame(frame), frame)
        except UNREADABLE as exc:
            raise RemoteProtocolError(f"undecodable frame: {exc}", frame=sample(frame)) from exc

    def _take_tick(self, tick: DerivTick, frame: str | bytes) -> Sequence[VenueEvent]:
        subscription = self._subscriptions.id_of(tick.symbol)
        if subscription is None:
            return (Unknown("tick"),)
        is_due = self._fields.is_due("tick")
        if subscription and not is_due:
            return (read_price(tick),)
        if not subscription:
            message = read_frame(frame)
            if message.req_id is None:
                message.req_id = self._subscriptions.request_for(tick.symbol)
                if message.req_id is not None:  # it is the answer, without its request's id
                    return self._take_confirmation(message)
            if message.subscription is not None:
                self._subscriptions.learn(tick.symbol, message.subscription.id)
        return (read_price(tick), *(self._look(frame, kind="tick") if is_due else ()))

    def _take_other(self, message: DerivFrame, frame: str | bytes) -> Sequence[VenueEvent]:
        kind = message.msg_type
        if message.error is not None:
            events = self._take_error(message.error, message.req_id)
        elif kind in self._readers:
            events = self._readers[kind](message)
            if kind in KNOWN_FIELDS and self._fields.is_due(kind):
                events = (*events, *self._look(frame, kind=kind))
            if message.req_id is not None:
                self._asked.pop(message.req_id, None)
        elif kind:
            return (Unknown(kind[:MOST_LETTERS]),)
        else:
            raise ValueError("neither an answer nor a price: it has no msg_type")
        if self._subscriptions.is_asking(since=self._lost_id):
            return events  # hours can wait
        frames = self._listing.ask_hours(next_id=self._next_id, since=self._lost_id)
        return (*events, *_unless_empty(Send(frames)))

    def _look(self, frame: str | bytes, *, kind: str) -> Sequence[NewFields]:
        return self._fields.compare(kind, fields_of(frame, kind=kind))

    # --- answers ------------------------------------------------------------------------------

    def _take_confirmation(self, message: DerivFrame) -> Sequence[VenueEvent]:
        """A subscription's first message confirms it.

        Its price is the last one before, which we often have: telling it would store it twice. Where
        we lack it, it lies in a gap, and the venue's history has it.
        """
        if not self._subscriptions.has_asked(message.req_id) or message.req_id is None:
            return (Unknown("answer to nobody"),)
        told = message.subscription
        events = self._subscriptions.confirm(message.req_id, "" if told is None else told.id)
        for event in events:
            if isinstance(event, Subscribed):
                self._listing.want_hours(event.symbols)
        return events

    def _take_forgotten(self, message: DerivFrame) -> Sequence[VenueEvent]:
        if message.req_id is None or not self._subscriptions.has_forgotten(message.req_id):
            return (Unknown("answer to nobody"),)
        return _unless_empty(self._subscriptions.forgot(message.req_id))

    def _take_goodbye(self, message: DerivFrame) -> Sequence[VenueEvent]:
        return (Subscribed(()),)

    def _take_nothing(self, message: DerivFrame) -> Sequence[VenueEvent]:
        return ()

    def _take_time(self, message: DerivFrame) -> Sequence[VenueEvent]:
        self._listing.now_us = ts_us = read_time_us(message.time)
        self._listing.want_hours(self._subscriptions.symbols)
        return (ServerTime(ts_us, SECOND_US, answers_ping=message.req_id == self._ping_id),)

    def _take_listing(self, message: DerivFrame) -> Sequence[VenueEvent]:
        return self._listing.take(message.active_symbols)

    def _take_hours(self, message: DerivFrame) -> Sequence[VenueEvent]:
        if message.req_id is None or not self._listing.has_asked(message.req_id):
            return (Unknown("answer to nobody"),)
        return self._listing.take_hours(message.req_id, message.contracts_for)

    def _take_account(self, message: DerivFrame) -> Sequence[VenueEvent]:
        account = read_account(message.authorize)
        self._groups[account.loginid] = "demo" if account.is_virtual else "real"
        return (Send((self._ask("balance", balance=1, subscribe=1), *self.refresh())),)

    def _take_balance(self, message: DerivFrame) -> Sequence[VenueEvent]:
        return (Balances((read_balance(message.balance, groups=self._groups),)),)

    def _take_history(self, message: DerivFrame) -> Sequence[VenueEvent]:
        if message.req_id is None or message.req_id not in self._history:
            return (Unknown("answer to nobody"),)
        return (self._history.ticks(message.req_id, message.history, next_id=self._next_id()),)

    def _take_candles(self, message: DerivFrame) -> Sequence[VenueEvent]:
        if message.req_id is None or message.req_id not in self._history:
            return (Unknown("answer to nobody"),)
        return (self._history.candles(message.req_id, message.candles),)

    # --- errors -------------------------------------------------------------------------------

    def _take_error(self, error: DerivError, req_id: int | None) -> Sequence[VenueEvent]:
        failure, reason = failure_of(error), reason_of(error)
        unknown = Unknown(f"error: {error.code[:MOST_LETTERS]}")
        if req_id is None:
            return meant_for_all(failure, reason, call="") or (unknown,)
        # What waits behind live data must not end the session, which costs it its prices.
        can_wait = req_id in self._history or self._listing.has_asked(req_id)
        call = self._asked.pop(req_id, "")
        told = self._fail(req_id, failure, reason)
        if can_wait:
            return told or (unknown,)
        return (*told, *meant_for_all(failure, reason, call=call)) or (unknown,)

    def _fail(self, req_id: int, failure: Failure, reason: str) -> Sequence[VenueEvent]:
        """Return what an error means for the request it answers."""
        if self._subscriptions.has_asked(req_id):
            return self._fail_subscription(req_id, failure, reason)
        if self._subscriptions.has_forgotten(req_id):
            return _unless_empty(self._subscriptions.forgot(req_id))
        if req_id in self._history:
            page = self._history.fail(req_id, reason)
            return (page,) if failure in NOT_TO_BE_HAD else ()
        if self._listing.has_asked(req_id) and failure not in MAY_PASS:
            self._listing.forgo_hours(req_id)
        elif self._listing.has_asked(req_id):
            self._listing.retry_hours(req_id)
        return ()

    def _fail_subscription(self, req_id: int, failure: Failure, reason: str) -> Sequence[VenueEvent]:
        if failure is Failure.ALREADY:
            return self._subscriptions.confirm(req_id, "")
        symbol = self._subscriptions.refuse(req_id)
        if failure is Failure.CLOSED:
            self._listing.close(symbol)
            return (Closed((symbol,), reason),)
        return (Refused((symbol,), reason),) if failure is Failure.REFUSED else ()


def _unless_empty(send: Send) -> Sequence[Send]:
    return (send,) if send.frames else ()


# Rise and Fall, as CALL and PUT: strictly higher or lower, so that a tie is lost (their longcodes; only
# CALLE and PUTE win on equality). Entry is the first tick after the start, exit the last one at or
# before the end (`audit_details` in its own mock of proposal_open_contract). Its times are whole
# seconds, so a start is up to one later than it seems. 15 s to a day where contracts last for seconds;
# `contracts_for` tells each market's bounds. What a contract pays is told by a proposal only, which
# nobody asks for on paper: 80 %, below what most of its markets pay.
CONTRACT = ContractRules(
    opens_at=OpensAt.FIRST_AFTER,
    tie=Tie.LOST,
    latency_us=1_000_000,
    least_expiry_s=15,
    most_expiry_s=86_400,
    payout_percent=80.0,
)

# Two official pages disagree on limits; the stricter of both, seen 2026-11-23: developers.deriv.com's
# `docs/limits` and deriv-api-plugin's `api-overview.md`.
VENUE = Venue(
    protocol="deriv",
    url=NEW_URL,
    sources=("quotes",),
    default_source="quotes",
    markets_per_connection=99,  # 100 subscriptions a connection; one is the balance's
    most_connections=5,  # of a user
    connect_budgets=(Budget(30, 60),),  # none is published: one attempt in 2 s
    # What we ask counts in one row, 220 a minute and 14,400 an hour, of all of a user's sockets
    # together: 0.2728 s and 0.25 s. At most 215 go in a minute.
    frame_spacing_s=0.28,
    is_spacing_shared=True,
    make_adapter=DerivAdapter,
    contract=CONTRACT,
    make_upgrade=make_upgrade,
    check_settings=check_settings,
    token=TokenUse.OPTIONAL,
    permanent_statuses={401: "Deriv does not know app_id, or wants one: correct the dialect or app_id"},
    ping_every_s=30.0,  # it closes after 2 min without a request; its own client pings every 30 s
    lists_markets=True,
    refresh_every_s=60.0,
    # Pages come out of the same budget; one in a second leaves room for the rest.
    history=History(kind=HistoryKind.TICKS, spacing_s=1.0, timeframes_s=TIMEFRAMES_S),
)
