"""Deriv's list of markets: names, whether they are open, and when they open and close."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from domain.instruments import Instrument, Listing, StakeLimit
from venues.deriv_frames import SECOND_US, UNREADABLE, read_seconds, request
from venues.events import StakeLimits, Unknown

HOURS_HOLD_US = 6 * 3_600 * SECOND_US  # hours are those of a day: asked again four times in it
HOURS_ASK_US = 600 * SECOND_US  # hours that are over are asked again, no sooner than so
PREFIXES = ("frx", "cry")  # forex and coins: frxEURUSD, cryBTCUSD
STAKE_CURRENCY = "USD"  # what `contracts_for` counts in unless told; contracts_for/send.json
RISE_OR_FALL = frozenset({"CALL", "PUT"})


class DerivSymbol(msgspec.Struct, gc=False):
    """One market of the list; the new dialect has other names for some fields.

    Legacy: `{"symbol":"frxEURUSD","display_name":"EUR/USD","market":"forex","exchange_is_open":1,
    "is_trading_suspended":0,"pip":0.00001,…}` (active_symbols/receive.json). New:
    `{"underlying_symbol":"frxEURUSD","underlying_symbol_name":"EUR/USD","market":"forex",
    "exchange_is_open":1,"is_trading_suspended":0,"pip_size":0.00001,…}` (migration pages, 2026-11-23)
    """

    symbol: str | None = None
    underlying_symbol: str | None = None
    display_name: str | None = None
    underlying_symbol_name: str | None = None
    market: str | None = None
    # Not recorded: that they may be another type in the new dialect, as many fields may.
    exchange_is_open: int | str | bool | None = 1
    is_trading_suspended: int | str | bool | None = 0


class DerivContract(msgspec.Struct, gc=False):
    """One kind of contract; stakes are told of few kinds.

    `{"contract_type":"CALL","min_stake":null,"max_stake":null,"min_contract_duration":"15m",…}`
    """

    contract_type: str = ""
    min_stake: Decimal | None = None
    max_stake: Decimal | None = None


class DerivContracts(msgspec.Struct, gc=False):
    """What can be traded on a market, and its next opening and close, null where there is none.

    `{"available":[…],"close":1587772740,"open":1587686400,"hit_count":37,"spot":1.0776}`
    (contracts_for/receive.json). The schema calls both times the next ones; of an open market clients
    have seen the opening of the same day, so one that is past is not taken for the next.
    """

    available: list[DerivContract] = []
    open: int | None = None
    close: int | None = None


_decode_symbols = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_symbol = msgspec.json.Decoder(DerivSymbol).decode
_decode_contracts = msgspec.json.Decoder(DerivContracts).decode


class DerivListing:
    """What one session was told of the venue's markets, and of whose hours it still wants to hear.

    `now_us` is the venue's clock as far as we know it.
    """

    def __init__(self, *, now_us: int) -> None:
        self.now_us = now_us
        self._instruments: dict[str, Instrument] = {}
        self._asked_us: dict[str, int] = {}  # when we asked for a market's hours
        self._unheard: set[str] = set()  # those that the venue did not answer then
        self._wanted: dict[str, None] = {}
        self._asked: dict[int, str] = {}  # request → symbol

    def take(self, data: msgspec.Raw) -> Sequence[Listing | Unknown]:
        """Take the whole list; what is no market in it is skipped and told."""
        told: dict[str, Instrument] = {}
        skipped = 0
        for item in _decode_symbols(data):
            try:
                listed = _read_symbol(_decode_symbol(item))
            except UNREADABLE:
                skipped += 1
                continue
            before = self._instruments.get(listed.symbol, listed)
            told[listed.symbol] = listed._replace(closes_us=before.closes_us, opens_us=before.opens_us)
        self._instruments = told
        listing = Listing(tuple(told.values()), is_whole=True)
        return (listing, *[Unknown("active_symbols item")] * skipped)

    def take_hours(self, req_id: int, data: msgspec.Raw) -> Sequence[Listing | StakeLimits]:
        """Take one market's hours, and the stakes where they are told."""
        symbol = self._asked.pop(req_id)
        self._unheard.discard(symbol)
        told = _decode_contracts(data)
        opens_us = None if told.open is None else read_seconds(told.open)
        closes_us = None if told.close is None else read_seconds(told.close)
        if opens_us is not None and opens_us <= self.now_us:
            opens_us = None  # when it opened, not when it opens next
        if closes_us is not None and opens_us is not None and closes_us > opens_us:
            closes_us = None  # of the session after that opening
        instrument = self._instruments.get(symbol) or Instrument(symbol)
        instrument = instrument._replace(closes_us=closes_us, opens_us=opens_us)
        self._instruments[symbol] = instrument
        return (Listing((instrument,), is_whole=False), *_read_stakes(told))

    def close(self, symbol: str) -> None:
        """The venue says that a market is closed: when it opens is the first thing to ask."""
        instrument = self._instruments.get(symbol)
        if instrument is not None:
            self._instruments[symbol] = instrument._replace(is_open=False, is_tradable=False)
        self._wanted = {symbol: None, **self._wanted}

    def want_hours(self, symbols: Sequence[str]) -> None:
        """Want these markets' hours, where we do not know them or they are over."""
        self._wanted |= {symbol: None for symbol in symbols if self._is_due(symbol)}

    def ask_hours(self, *, next_id: Callable[[], int], since: int) -> tuple[str, ...]:
        """Return the request for one market's hours; none while one later than `since` is under way."""
        if not self._wanted or any(req_id > since for req_id in self._asked):
            return ()
        symbol = next(iter(self._wanted))
        del self._wanted[symbol]
        self._asked_us[symbol] = self.now_us
        req_id = next_id()
        self._asked[req_id] = symbol
        return (request(contracts_for=symbol, req_id=req_id),)

    def has_asked(self, req_id: int) -> bool:
        """Return whether this request asks for hours and is not answered yet."""
        return req_id in self._asked

    def forgo_hours(self, req_id: int) -> None:
        """The venue has no hours for us."""
        del self._asked[req_id]

    def retry_hours(self, req_id: int) -> None:
        """The venue does not answer now: they are to be asked for again, but not at once."""
        self._unheard.add(self._asked.pop(req_id))

    def _is_due(self, symbol: str) -> bool:
        asked_us = self._asked_us.get(symbol)
        if asked_us is None or self.now_us - asked_us >= HOURS_HOLD_US:
            return True
        if self.now_us - asked_us < HOURS_ASK_US:
            return False
        if symbol in self._unheard:
            return True
        instrument = self._instruments.get(symbol)
        if instrument is None:
            return False
        times_us = (instrument.closes_us, instrument.opens_us)
        return any(time_us is not None and time_us <= self.now_us for time_us in times_us)


def _read_symbol(told: DerivSymbol) -> Instrument:
    symbol = told.symbol or told.underlying_symbol
    if not symbol:
        raise ValueError("a market without a name")
    is_open = _is_so(told.exchange_is_open, True) and not _is_so(told.is_trading_suspended, False)
    aliases = (symbol[3:],) if symbol.startswith(PREFIXES) else ()
    title = told.display_name or told.underlying_symbol_name or ""
    return Instrument(symbol, title, told.market or "", is_open, is_open, aliases=aliases)


def _is_so(told: int | str | bool | None, unless_told: bool) -> bool:  # noqa: FBT001
    return unless_told if told is None else told in (1, "1")


def _read_stakes(told: DerivContracts) -> Sequence[StakeLimits]:
    # Not recorded: the legacy schema tells stakes of turbo contracts only.
    for contract in told.available:
        least, most = contract.min_stake, contract.max_stake
        if contract.contract_type in RISE_OR_FALL and least is not None and most is not None:
            if not (least.is_finite() and most.is_finite() and 0 <= least <= most):
                raise ValueError(f"stakes from {least} to {most}")
            return (StakeLimits({STAKE_CURRENCY: StakeLimit(least, most)}),)
    return ()
