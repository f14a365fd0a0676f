"""What the sections say of each market and venue, checked across sections, one market at a time."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import attrs

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN, VENUE_PATTERN, market_id
from storage.target import parse_target
from supervisor.read_section import nearest, shown
from supervisor.sections import MarketsSettings, Settings
from venues import find_venue
from venues.settings import VenueSettings


@attrs.frozen(kw_only=True)
class MarketSpec:
    """One market as the settings want it; equal specs need no restart on reload."""

    id: str
    symbol: str
    venue: str
    stale_after_s: float
    autostart: bool
    strategies: tuple[str, ...]


def market_specs(settings: Settings) -> tuple[MarketSpec, ...]:
    """Return every market, in the order of the settings file."""
    return tuple(
        MarketSpec(
            id=market_id(symbol=symbol, venue=section.venue),
            symbol=symbol,
            venue=section.venue,
            stale_after_s=section.stale_after_s or settings.venues[section.venue].stale_after_s,
            autostart=section.autostart,
            strategies=section.strategies,
        )
        for section in settings.markets
        for symbol in section.symbols
    )


def check_across(settings: Settings) -> None:
    """Raise `ConfigError` where sections are wrong together or name what is not there."""
    # The password file is left for the start: it need not be readable by whoever checks the settings.
    parse_target(attrs.evolve(settings.storage, password_file=None), state_dir=Path(), environment={})
    for name, venue in settings.venues.items():
        _check_venue(name, venue)
    seen: dict[tuple[str, str], str] = {}
    for number, section in enumerate(settings.markets, start=1):
        _check_markets(section, settings, where=f"[[markets]] #{number}", seen=seen)
    for name, venue in settings.venues.items():
        _check_sockets(name, venue, settings)
    supervision = settings.supervision
    if supervision.backoff_min_s > supervision.backoff_max_s:
        raise ConfigError(
            f"[supervision] backoff_min_s = {supervision.backoff_min_s}: "
            f"more than backoff_max_s = {supervision.backoff_max_s}"
        )
    if settings.strategies or settings.trading.mode != "paper":
        from supervisor.terms import check_trading  # with strategies, only where something trades

        check_trading(settings)


def _check_venue(name: str, venue: VenueSettings) -> None:
    where = f"[venues.{name}]"
    if not VENUE_PATTERN.fullmatch(name):
        raise ConfigError(
            f"{where}: {shown(name)} is no name for a venue: "
            "expected a-z, 0-9, _ and -, at most 32, not beginning with _ or -"
        )
    try:
        protocol = find_venue(venue.protocol)
    except ConfigError as exc:
        raise ConfigError(f"{where} protocol = {shown(venue.protocol)}: {exc}") from exc
    if venue.source is not None and venue.source not in protocol.sources:
        known = " or ".join(protocol.sources)
        raise ConfigError(f"{where} source = {shown(venue.source)}: {venue.protocol} has {known}")
    if venue.url is not None:
        _check_url(venue.url, where=f"{where} url", schemes=("ws", "wss"))
    if venue.rest_url is not None:
        _check_url(venue.rest_url, where=f"{where} rest_url", schemes=("http", "https"))
    try:
        protocol.check(venue)
    except ConfigError as exc:
        raise ConfigError(f"{where} {exc}") from exc


def _check_sockets(name: str, venue: VenueSettings, settings: Settings) -> None:
    """Refuse more markets than the venue's sockets hold, and more on one than it allows."""
    protocol = find_venue(venue.protocol)
    most, each = protocol.most_connections, protocol.markets_per_connection
    if venue.markets_per_connection is not None and venue.markets_per_connection > each:
        raise ConfigError(
            f"[venues.{name}] markets_per_connection = {venue.markets_per_connection}: "
            f"{venue.protocol} allows {each}"
        )
    count = sum(len(section.symbols) for section in settings.markets if section.venue == name)
    bound = venue.markets_per_connection or each
    if most is not None and count > most * bound:
        raise ConfigError(
            f"[[markets]] of {name}: {count} symbols need {-(-count // bound)} sockets of {bound} markets, "
            f"and {venue.protocol} allows {most}"
        )


def _check_url(url: str, *, where: str, schemes: tuple[str, str]) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in schemes and bool(parts.hostname) and _has_good_port(parts)
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigError(f"{where} = {shown(url)}: expected {schemes[1]}://HOST[:PORT]/PATH")
    if parts.username is not None:
        raise ConfigError(f"{where} = {shown(url)}: no user or password here; tokens come from token_file")


def _has_good_port(parts: SplitResult) -> bool:
    return parts.port is None or parts.port > 0


def _check_markets(
    section: MarketsSettings, settings: Settings, *, where: str, seen: dict[tuple[str, str], str]
) -> None:
    _check_known(section.venue, settings.venues, where=f"{where} venue", kind="venues")
    for index, strategy in enumerate(section.strategies):
        _check_known(strategy, settings.strategies, where=f"{where} strategies", kind="strategies")
        if strategy in section.strategies[:index]:
            raise ConfigError(f"{where} strategies: {shown(strategy)} is there twice")
    if not section.symbols:
        raise ConfigError(f"{where} symbols = []: expected at least one symbol")
    for symbol in section.symbols:
        _check_symbol(symbol, section.venue, where=f"{where} symbols", seen=seen)


def _check_known(name: str, known: Mapping[str, object], *, where: str, kind: str) -> None:
    if name not in known:
        raise ConfigError(f"{where} = {shown(name)}: there is no [{kind}.{name}]{nearest(name, known)}")


def _check_symbol(symbol: str, venue: str, *, where: str, seen: dict[tuple[str, str], str]) -> None:
    if not SYMBOL_PATTERN.fullmatch(symbol):
        raise ConfigError(
            f"{where}: {shown(symbol)} is no symbol: "
            "expected letters, digits and . _ / : -, at most 32, beginning with a letter, digit or _"
        )
    # Venues and databases that ignore case would take both for one market.
    alias = (symbol.lower(), venue)
    if alias in seen:
        raise ConfigError(f"{where}: {shown(symbol)} and {shown(seen[alias])} are one market of {venue}")
    seen[alias] = symbol
