"""Sets a backtest up, as the settings have trading."""

from pathlib import Path

import attrs

from domain.contracts import ContractRules
from domain.errors import RejectedError, UnknownSymbol
from domain.instruments import Catalog
from domain.market import split_market_id
from domain.trades import Mode
from strategies.candle_prices import rules_for_candles
from strategies.desk import Desk, Seat
from strategies.paper import Offer, PaperBook
from strategies.replay import Assumed, Replay, StoredCandles
from strategies.risk import Conditions
from strategies.trading import Account, Trading
from supervisor.market_specs import market_specs
from supervisor.read_section import nearest
from supervisor.sections import Settings
from supervisor.set_aside import set_aside_at_fault
from supervisor.terms import currency_of, limits_of, load_strategies, plan_of
from venues import find_venue
from venues.protocol import PAPER_CONTRACT
from venues.settings import VenueSettings

USUAL_PAYOUT_PERCENT = 80.0
USUAL_STALE_AFTER_S = 60.0  # `[venues.NAME] stale_after_s` has this default


@attrs.frozen(kw_only=True)
class Backtest:
    """What is asked for, and the settings it is run by. `candle_s` is None for ticks."""

    settings: Settings
    config: Path
    catalog: Catalog  # what is remembered of the market's venue
    strategy: str
    market: str
    payout_percent: float | None = None
    candle_s: int | None = None

    @property
    def payout(self) -> float:
        """What a won trade brings, in percent: as given, else as last told by the venue, else as usual."""
        told = self.catalog.payouts.get(_symbol(self.catalog, split_market_id(self.market)[0]))
        percents = (self.payout_percent, told, self.rules.payout_percent)
        return next((percent for percent in percents if percent is not None), USUAL_PAYOUT_PERCENT)

    @property
    def rules(self) -> ContractRules:
        """How contracts go at the market's venue; at one that the settings do not have, as at most."""
        venue = self._venue
        return PAPER_CONTRACT if venue is None else find_venue(venue.protocol).contract

    @property
    def _venue(self) -> VenueSettings | None:
        return self.settings.venues.get(split_market_id(self.market)[1])

    def make(self, stored: StoredCandles) -> Replay:
        """Return what runs it. Raises ConfigError and RejectedError that name what is wrong."""
        seat = self._seat()
        rules = self.rules if self.candle_s is None else rules_for_candles(self.rules)
        trading = self.settings.trading
        account = Account(
            mode=Mode.PAPER,
            currency=currency_of(trading),
            plans={seat.name: plan_of(self.settings.strategies[seat.name])},
        )
        desk = Desk(
            market=self.market,
            seats=[seat],
            book=PaperBook(market=self.market, rules=rules),
            fence=set_aside_at_fault,
        )
        desk.show_payout(self.payout)
        return Replay(
            desk=desk,
            trading=Trading(account=account, limits=limits_of(self.settings), balance=trading.paper_balance),
            assumed=Assumed(conditions=self._conditions(rules), offer=self._offer(account.currency)),
            stored=stored,
        )

    def _offer(self, currency: str) -> Offer:
        limit = self.catalog.stake_limits.get(currency)
        return Offer(
            payout_percent=self.payout,
            least_stake=None if limit is None else limit.least,
            most_stake=None if limit is None else limit.most,
        )

    def _conditions(self, rules: ContractRules) -> Conditions:
        specs = {spec.id: spec for spec in market_specs(self.settings)}
        spec = specs.get(self.market)
        stale_after_s = USUAL_STALE_AFTER_S if spec is None else spec.stale_after_s
        return Conditions(
            rules=rules,
            payout_percent=self.payout,
            price_age_ms=0,
            stale_after_ms=round(stale_after_s * 1_000),
        )

    def _seat(self) -> Seat:
        name, sections = self.strategy, self.settings.strategies
        if name not in sections:
            raise RejectedError(
                f'--strategy "{name}": {self.config} has no [strategies.{name}]{nearest(name, sections)}'
            )
        own = attrs.evolve(self.settings, strategies={name: sections[name]})
        seat = Seat(
            name=name,
            market=self.market,
            expiry_s=sections[name].expiry_s,
            make=load_strategies(own, config=self.config)[name],
        )
        if self.candle_s is not None:
            _check_whole(seat, self.candle_s)
        return seat


def _check_whole(seat: Seat, candle_s: int) -> None:
    """Refuse what cannot be told from candles: contracts and candles that end in the middle of one."""
    where = f"[strategies.{seat.name}]"
    for name, value in (("expiry_s", seat.expiry_s), ("timeframe_s", seat.strategy.timeframe_s)):
        if value % candle_s:
            raise RejectedError(
                f"{where} {name} = {value}: with --candles {candle_s} it has to be a multiple of {candle_s}"
            )


def _symbol(catalog: Catalog, name: str) -> str:
    try:
        return catalog.find(name).symbol
    except UnknownSymbol:
        return name
