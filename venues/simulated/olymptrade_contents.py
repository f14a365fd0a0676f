"""What Olymp Trade pushes beside prices and the list of markets, by code. Pure; shapes as recorded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from venues.olymptrade_frames import BALANCES, STAKE_LIMITS
from venues.simulated.olymptrade_instruments import OUT_OF_ORDER, item

ACCOUNTS = ((1000000001, "real", 0), (1000000002, "demo", 10_000), (1000000003, "real", 0))
STAKES = {"usd": 1, "eur": 1, "gbp": 1, "idr": 15_000, "brl": 5, "inr": 70, "jpy": 150, "omr": 0.5}
MOST_STOCKS = 33


def _balances() -> list[dict[str, Any]]:
    return [
        {
            "amount": amount,
            "amount_bonus": 0,
            "amount_bonus_free": 0,
            "amount_free": amount,
            "amount_real": amount,
            "account_id": account,
            "group": group,
            "holds": {"payout": 0},
        }
        for account, group, amount in ACCOUNTS
    ]


def _limits(times: int) -> dict[str, Any]:
    return {name: {"min": least, "max": least * times, "default": least} for name, least in STAKES.items()}


def _stocks(symbols: Sequence[str]) -> list[dict[str, Any]]:
    return [item(symbol, lock=OUT_OF_ORDER) for symbol in symbols[-MOST_STOCKS:]]


def _sentiment(symbols: Sequence[str]) -> list[dict[str, Any]]:
    return [{"pair": symbol, "sentiment": 50} for symbol in symbols]


# Of the symbols that are listed.
CONTENTS: Mapping[int, Callable[[Sequence[str]], Any]] = {
    BALANCES: lambda _: _balances(),
    STAKE_LIMITS: lambda _: _limits(3_000),
    1055: lambda _: _limits(2_000),
    110: lambda _: [{"id": 1000000004, "email_confirmed": False}],
    602: lambda _: [0],
    1097: _sentiment,
    1301: lambda _: [{"rev": 0, "pairs": []}],
    2223: _stocks,
    2301: lambda _: [{"rev": 0, "pairs": []}],
}
