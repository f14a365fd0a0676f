"""Reads the map of `marketd import`: a TOML file that says which column of another bot's tables is what."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import validators

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN, VENUE_PATTERN, split_market_id
from storage.import_map import COLUMNS, Kind, Marks, TableMap, TimeForm, TimeMap
from supervisor.key_checks import check_zone
from supervisor.read_section import nearest, read_section, shown


@attrs.frozen(kw_only=True)
class _TimeSection:
    """`time` of a table."""

    form: TimeForm
    column: str | None = None
    date_column: str | None = None
    clock_column: str | None = None
    zone: str = attrs.field(default="UTC", validator=check_zone)
    marks: Marks = Marks.OPEN


@attrs.frozen(kw_only=True)
class _TableSection:
    """`[[tables]]`."""

    table: str
    kind: Kind
    time: dict[str, Any]
    columns: dict[str, str]
    market: str | None = None
    symbol_column: str | None = None
    markets: dict[str, str] = attrs.field(factory=dict)
    timeframe_s: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(1)))
    gap_after_s: int = attrs.field(default=60, validator=validators.ge(1))


def read_map(path: Path, *, known_markets: Collection[str]) -> tuple[TableMap, ...]:
    """Return the tables of a map; raise `ConfigError` that names file, key and value.

    `known_markets` are those of the settings.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: is not TOML: {exc}") from exc
    try:
        return _read_tables(content, known_markets=known_markets)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def where(number: int) -> str:
    """Return what messages call a table of the map, counted from 1."""
    return f"[[tables]] #{number}"


def _read_tables(content: Mapping[str, Any], *, known_markets: Collection[str]) -> tuple[TableMap, ...]:
    for key in content:
        if key != "tables":
            raise ConfigError(f"{key}: unknown key{nearest(key, ['tables'])}")
    tables = content.get("tables")
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"[tables] = {shown(tables)}: expected sections [[tables]], in double brackets")
    found = [_read_table(each, where=where(number)) for number, each in enumerate(tables, start=1)]
    for number, each in enumerate(found, start=1):
        for market in each.all_markets():
            _check_market(market, known_markets, where=where(number))
    return tuple(found)


def _read_table(content: object, *, where: str) -> TableMap:
    section = read_section(_TableSection, content, where=where)
    time = read_section(_TimeSection, section.time, where=f"{where} time")
    table = TableMap(**{**attrs.asdict(section, recurse=False), "time": TimeMap(**attrs.asdict(time))})
    _check_time(table, where=f"{where} time")
    _check_columns(table, where=where)
    if (table.market is None) == (table.symbol_column is None):
        raise ConfigError(f"{where}: expected either market, or symbol_column and markets")
    if (table.symbol_column is None) == bool(table.markets):
        raise ConfigError(f"{where} markets = {shown(table.markets)}: it goes with symbol_column")
    if (table.timeframe_s is None) == (table.kind is Kind.CANDLES):
        raise ConfigError(f"{where} timeframe_s = {table.timeframe_s}: candles have one, ticks do not")
    return table


def _check_time(table: TableMap, *, where: str) -> None:
    time = table.time
    has_pair = time.date_column is not None and time.clock_column is not None
    has_half = (time.date_column is None) != (time.clock_column is None)
    if has_half or has_pair == (time.column is not None):
        raise ConfigError(f"{where}: expected either column, or date_column and clock_column")
    if has_pair and time.form is not TimeForm.DATETIME:
        raise ConfigError(f'{where} form = {str(time.form)!r}: a date and a clock are form = "datetime"')
    if time.zone != "UTC" and time.form is not TimeForm.DATETIME:
        raise ConfigError(f"{where} zone = {time.zone!r}: {time.form} counts from 1970 in UTC")
    if time.marks is Marks.CLOSE and table.kind is Kind.TICKS:
        raise ConfigError(f"{where} marks = {str(time.marks)!r}: of candles only")


def _check_columns(table: TableMap, *, where: str) -> None:
    known = COLUMNS[table.kind]
    for name in table.columns:
        if name not in known:
            raise ConfigError(f"{where} columns.{name}: unknown key{nearest(name, known)}")
    missing = [name for name, is_needed in known.items() if is_needed and name not in table.columns]
    if missing:
        raise ConfigError(f"{where} columns.{missing[0]}: missing")
    has_middle = {"bid", "ask"} <= table.columns.keys()
    if table.kind is Kind.TICKS and "price" not in table.columns and not has_middle:
        raise ConfigError(f"{where} columns.price: missing, and there are not both bid and ask")


def _check_market(market: str, known: Collection[str], *, where: str) -> None:
    symbol, venue = split_market_id(market)
    if not SYMBOL_PATTERN.fullmatch(symbol) or not VENUE_PATTERN.fullmatch(venue):
        raise ConfigError(f"{where} market {shown(market)}: expected SYMBOL@VENUE")
    if market not in known:
        raise ConfigError(
            f"{where} market {shown(market)}: not among the settings' [[markets]]{nearest(market, known)}"
        )
