"""What the simulated Deriv answers, as its schemas have it; the new dialect differs where said so."""

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any

from domain.errors import RejectedError
from venues.simulated.deriv_market import SECOND_US, DerivMarket
from venues.simulated.past import Past

MOST_A_PAGE = 5_000  # ticks or candles, whatever `count` says
DEFAULT_COUNT = 1_000
DAY_S = 86_400
GRANULARITIES = frozenset({60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400})
END_PATTERN = re.compile(r"latest|[0-9]{1,10}")
SYMBOL_PATTERN = re.compile(r"\w{2,30}")

# What each request may hold, by the call that names it; config/v3/*/send.json, 2026-06-11. A history
# that goes on as a stream (`subscribe`) is not served.
_COMMON = {"req_id", "passthrough"}
FIELDS: Mapping[str, frozenset[str]] = {
    call: frozenset({call, *names.split(), *_COMMON})
    for call, names in {
        "active_symbols": "product_type contract_type barrier_category landing_company",
        "authorize": "add_to_login_history tokens",
        "balance": "account subscribe loginid",
        "contracts_for": "currency product_type landing_company",
        "forget": "",
        "forget_all": "",
        "ping": "",
        "ticks": "subscribe",
        "ticks_history": "start end count style granularity adjust_start_time",
        "time": "",
    }.items()
}
LEGACY_ONLY = frozenset({"authorize", "balance"})  # the new dialect has another socket for accounts


class Dialect(enum.Enum):
    """Which of its two dialects a socket speaks."""

    LEGACY = enum.auto()
    NEW = enum.auto()


class Failed(RejectedError):
    """A request failed; the venue's `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_fields(call: str, fields: Mapping[str, Any]) -> None:
    """Raise `Failed` for a request with fields that its call does not have."""
    if extra := sorted(fields.keys() - FIELDS[call]):
        raise Failed("InputValidationFailed", f"Properties not allowed: {', '.join(extra)}.")


def invalid(field: str) -> Failed:
    """Return the failure of a request with an impossible field."""
    return Failed("InputValidationFailed", f"Input validation failed: {field}")


def active_symbols(
    markets: Iterable[DerivMarket], *, dialect: Dialect, at_us: int
) -> list[dict[str, object]]:
    """Return the list of markets."""
    listed = _legacy_symbol if dialect is Dialect.LEGACY else _new_symbol
    return [
        {
            **listed(market),
            "market": market.group,
            "submarket": "major_pairs",
            "subgroup": "none",
            "display_order": number,
            "exchange_is_open": int(market.opening(at_us=at_us).is_open),
            "is_trading_suspended": 0,
        }
        for number, market in enumerate(markets)
    ]


def _legacy_symbol(market: DerivMarket) -> dict[str, object]:
    return {
        "symbol": market.wire,
        "symbol_type": market.group,
        "display_name": market.title,
        "market_display_name": market.group.title(),
        "submarket_display_name": "Major Pairs",
        "subgroup_display_name": "None",
        "allow_forward_starting": 0,
        "pip": 0.00001,
    }


def _new_symbol(market: DerivMarket) -> dict[str, object]:
    return {
        "underlying_symbol": market.wire,
        "underlying_symbol_type": market.group,
        "underlying_symbol_name": market.title,
        "pip_size": 0.00001,
    }


def contracts_for(market: DerivMarket, *, at_us: int) -> dict[str, object]:
    """Return what can be traded on a market, and its next opening and close."""
    told = market.opening(at_us=at_us)
    available = [
        {
            "barrier_category": "euro_atm",
            "barriers": 0,
            "contract_category": "callput",
            "contract_category_display": "Up/Down",
            "contract_display": display,
            "contract_type": kind,
            "exchange_name": "FOREX",
            "expiry_type": "intraday",
            "market": market.group,
            "max_contract_duration": "1d",
            "min_contract_duration": "15m",
            "sentiment": sentiment,
            "start_type": "spot",
            "submarket": "major_pairs",
            "underlying_symbol": market.wire,
        }
        for kind, display, sentiment in (("CALL", "Higher", "up"), ("PUT", "Lower", "down"))
    ]
    return {
        "available": available,
        "close": None if told.closes_us is None else told.closes_us // SECOND_US,
        "open": None if told.opens_us is None else -(-told.opens_us // SECOND_US),  # not before
        "feed_license": "realtime",
        "hit_count": len(available),
        "spot": None if market.latest is None else market.latest.price,
    }


def history(market: DerivMarket, fields: Mapping[str, Any], *, at_us: int) -> dict[str, object]:
    """Return the latest ticks or candles of an interval, as many as asked for.

    Raises `Failed` for an interval, a style or a granularity that there is not.
    """
    end = fields.get("end")
    if not isinstance(end, str) or not END_PATTERN.fullmatch(end):
        raise invalid("end")
    now_s = at_us // SECOND_US
    end_s = now_s if end == "latest" else min(int(end), now_s)
    start_s = _whole(fields, "start", default=end_s - DAY_S)
    count = min(_whole(fields, "count", default=DEFAULT_COUNT), MOST_A_PAGE)
    if start_s > end_s:
        raise Failed("InvalidStartEnd", "Start time must be before end time.")
    style = fields.get("style", "ticks")
    if style == "ticks":
        return _ticks(market, start_s=start_s, end_s=end_s, count=count)
    granularity = _whole(fields, "granularity", default=60)
    if style != "candles" or granularity not in GRANULARITIES:
        raise invalid("granularity" if style == "candles" else "style")
    candles = _candles(market.past, start_s=start_s, end_s=end_s, granularity=granularity)
    return {"candles": candles[-count:], "pip_size": market.pip_size}


def _ticks(market: DerivMarket, *, start_s: int, end_s: int, count: int) -> dict[str, object]:
    ticks = market.past.between(start_s * SECOND_US, end_s * SECOND_US)[-count:]
    told = {
        "prices": [tick.price for tick in ticks],
        "times": [tick.ts_us // SECOND_US for tick in ticks],
    }
    return {"history": told, "pip_size": market.pip_size}


def _candles(past: Past, *, start_s: int, end_s: int, granularity: int) -> list[dict[str, float]]:
    candles = past.candles(start_s * SECOND_US, end_s * SECOND_US, timeframe_us=granularity * SECOND_US)
    return [
        {
            "epoch": candle.open_us // SECOND_US,
            "open": candle.open,
            "high": candle.high,
            "low": candle.low,
            "close": candle.close,
        }
        for candle in candles
    ]


def _whole(fields: Mapping[str, Any], name: str, *, default: int) -> int:
    told = fields.get(name, default)
    if not isinstance(told, int) or isinstance(told, bool) or not 0 <= told <= 9_999_999_999:
        raise invalid(name)
    return told
