"""Olymp Trade's list of markets (1054): the whole once a session, changes later. Pure."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from domain.errors import RemoteProtocolError
from domain.instruments import Instrument, Listing
from venues.olymptrade_envelope import decode_items
from venues.olymptrade_frames import to_us

# The venue's own spelling → what everybody else says. Markets that end in USD and are of the group
# `crypto` are known by USDT as well.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "Bitcoin": ("BTCUSD", "BTCUSDT"),
    "AVXUSD": ("AVAXUSD", "AVAXUSDT"),
    "DOGUSD": ("DOGEUSD", "DOGEUSDT"),
    "GLMUSD": ("GLMRUSD", "GLMRUSDT"),
    "LNKUSD": ("LINKUSD", "LINKUSDT"),
    "_BRN": ("BRENT", "UKOIL"),
    "WTI": ("USOIL",),
    "ES": ("SPX500", "US500"),
    "NQ": ("NAS100", "US100"),
    "YM": ("US30",),
    "FDAX": ("DE40", "GER40"),
}


T = TypeVar("T")


class OlympInstrument(msgspec.Struct, gc=False):
    """One market of the list. Times are UTC seconds, 0 where there are none.

    `{"id":"EURUSD","title":"EUR/USD","aliases":[],"group":"currency","group_view":["currency"],
    "precision":5,"time_close":1751662800,"time_open":1751835600,"locked_reason":"schedule",
    "time_close_trading":1751662500,"time_open_trading":1751835900,"locked_trading_reason":"schedule",
    …,"locked":true,"locked_trading":true,"locked_buy":false,"locked_sell":false,"is_endless":false,
    "rank":1,"volatility":0.19}` (recorded 2025-07-04; commissions, multipliers and icons left out)

    That later pushes tell only what changed is not recorded; so everything but the id may be missing.
    """

    id: str
    title: str | msgspec.UnsetType | None = msgspec.UNSET
    aliases: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    group: str | msgspec.UnsetType | None = msgspec.UNSET
    time_close: float | msgspec.UnsetType | None = msgspec.UNSET
    time_open: float | msgspec.UnsetType | None = msgspec.UNSET
    locked: bool | msgspec.UnsetType = msgspec.UNSET
    locked_trading: bool | msgspec.UnsetType = msgspec.UNSET


class OlympName(msgspec.Struct, gc=False):
    """What must be readable of a market."""

    id: str


_decode_instrument = msgspec.json.Decoder(OlympInstrument).decode
_decode_name = msgspec.json.Decoder(OlympName).decode


class InstrumentList:
    """What one session has been told of the markets."""

    def __init__(self) -> None:
        self._known: dict[str, Instrument] = {}
        self._paying: set[str] = set()
        self._is_listed = False

    def read(self, d: msgspec.Raw) -> tuple[Listing, int]:
        """Return what a 1054 tells, the first of a session as the whole, and how many items are spoilt.

        It only describes: of a market that cannot be read the name will do, else it would be unknown.
        """
        told: dict[str, Instrument] = {}
        spoilt = 0
        for item in decode_items(d):
            try:
                instrument = self._merge(_decode_instrument(item))
            except (msgspec.DecodeError, RemoteProtocolError):
                spoilt += 1
                try:
                    instrument = self._merge(OlympInstrument(_decode_name(item).id))
                except msgspec.DecodeError:
                    continue
            self._known[instrument.symbol] = told[instrument.symbol] = instrument
        is_whole = not self._is_listed and bool(told)
        self._is_listed = self._is_listed or is_whole
        return Listing((*told.values(), *self._unlisted()), is_whole), spoilt

    def read_paying(self, symbols: Iterable[str]) -> Listing:
        """Return those with a payout that the list lacks, as open markets.

        Variants that trade round the clock (`EURUSD_OTC`) were not in the recorded list, but have
        payouts by clients' accounts. Empty before the list is known.
        """
        self._paying.update(symbols)
        return Listing(self._unlisted(), is_whole=False)

    def is_closed(self, symbol: str) -> bool:
        """Return whether it is listed, and locked."""
        known = self._known.get(symbol)
        return known is not None and not known.is_open

    def _unlisted(self) -> tuple[Instrument, ...]:
        if not self._is_listed:
            return ()
        new = {symbol: Instrument(symbol, group="unlisted") for symbol in self._paying - self._known.keys()}
        self._known |= new
        return tuple(new.values())

    def _merge(self, told: OlympInstrument) -> Instrument:
        known = self._known.get(told.id) or Instrument(told.id)
        group = _either(told.group, known.group)
        return Instrument(
            symbol=told.id,
            title=_either(told.title, known.title),
            group=group,
            is_open=known.is_open if told.locked is msgspec.UNSET else not told.locked,
            is_tradable=(
                known.is_tradable if told.locked_trading is msgspec.UNSET else not told.locked_trading
            ),
            closes_us=known.closes_us if told.time_close is msgspec.UNSET else _time(told.time_close),
            opens_us=known.opens_us if told.time_open is msgspec.UNSET else _time(told.time_open),
            aliases=(
                known.aliases
                if told.aliases is msgspec.UNSET and known.aliases
                else _aliases(told.id, group=group, told=_either(told.aliases, []))
            ),
        )


def _either(told: T | msgspec.UnsetType | None, known: T) -> T:
    return known if told is None or isinstance(told, msgspec.UnsetType) else told


def _time(seconds: float | None) -> int | None:
    return to_us(seconds) if seconds else None


def _aliases(symbol: str, *, group: str, told: list[str]) -> tuple[str, ...]:
    """Return the other names of a market; the venue's own hold its group's name ("Crypto") too."""
    names = [name for name in told if name.lower() != group]
    names += OTHER_NAMES.get(symbol, ())
    if group == "crypto" and symbol.endswith("USD"):
        names.append(f"{symbol}T")
    return tuple(dict.fromkeys(names))
