"""Seats strategies at a market, as the settings say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from strategies.desk import Seat
from strategies.loading import NewStrategy
from strategies.stake import Plan
from supervisor.market_specs import MarketSpec
from supervisor.sections import Settings
from supervisor.terms import load_strategies, plan_of

BUILT_INS_ONLY = Path("marketd.toml")  # where there is no settings file, nobody has files beside it


class Roster:
    """The strategies that settings name, loaded once: seats are made from it, and stakes.

    Raises `ConfigError` where one cannot be made.
    """

    def __init__(self, settings: Settings, *, config: Path | None) -> None:
        self._sections = settings.strategies
        self._makers: Mapping[str, NewStrategy] = load_strategies(settings, config=config or BUILT_INS_ONLY)

    def seats(self, spec: MarketSpec) -> Sequence[Seat]:
        """Return new seats for a market's strategies."""
        return [
            Seat(name=name, market=spec.id, expiry_s=self._sections[name].expiry_s, make=self._makers[name])
            for name in spec.strategies
        ]

    def plans(self) -> dict[str, Plan]:
        """Return what each strategy stakes."""
        return {name: plan_of(section) for name, section in self._sections.items()}

    def has_changed(self, spec: MarketSpec, before: "Roster | None") -> bool:
        """Return whether one of a market's strategies has other settings, or another file, than before."""
        return before is None or any(self._is_new(name, before) for name in spec.strategies)

    def _is_new(self, name: str, before: "Roster") -> bool:
        if self._sections[name] != before._sections.get(name):
            return True
        return self._makers[name].source != before._makers[name].source
