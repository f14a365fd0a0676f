"""How far each limit is used, for status and `why`. Pure."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from domain.trades import Position
from strategies.limits import Limits
from strategies.standing import Standing


def used_limits(limits: Limits, standing: Standing, under_way: Iterable[Position]) -> dict[str, Any]:
    """Return each limit by its name with what it is and how much of it is used, None where it is no count.

    As JSON takes it, money as text.
    """
    on_markets = Counter(position.trade.market for position in under_way)
    used: dict[str, int | Decimal] = {
        "max_open_trades": standing.open_trades,
        "max_open_per_market": max(on_markets.values(), default=0),
        "max_trades_per_day": standing.trades_today,
        "max_daily_loss": standing.at_risk,
        "max_losses_in_a_row": len(standing.losing_run),
    }
    return {
        name: {"limit": limit, "used": _as_json(used.get(name))}
        for name, limit in limits.as_table().items()
        if name != "zone"
    }


def _as_json(value: int | Decimal | None) -> int | str | None:
    return str(value) if isinstance(value, Decimal) else value
