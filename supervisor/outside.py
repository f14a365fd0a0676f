"""What the outside says of a market at this moment, as trading asks for it: rules, payout, silence."""

from collections.abc import Mapping

import attrs

from actors.paper_broker import Silence
from domain.clock import now_us
from domain.contracts import ContractRules
from domain.errors import UnknownSymbol
from domain.gaps import AT_REST, Cause, Gap, GapTracker
from domain.instruments import Catalog
from domain.market import split_market_id
from domain.states import Desired
from strategies.paper import Offer
from strategies.risk import NO_PRICE_MS, Conditions
from supervisor.branches import MarketBranch, VenueBranch
from venues.protocol import PAPER_CONTRACT

NO_RULES_STALE_MS = 0  # a market that is gone has no price


@attrs.define(kw_only=True, eq=False)
class Outside:
    """Looks at the tree's venues and markets; owns nothing. `currency` is the account's."""

    venues: Mapping[str, VenueBranch]
    markets: Mapping[str, MarketBranch]
    currency: str

    def rules(self, market: str) -> ContractRules:
        """Return how contracts go at a market's venue; of one that is gone, as at most venues."""
        venue = self.venues.get(split_market_id(market)[1])
        return PAPER_CONTRACT if venue is None else venue.place.venue.contract

    def payout(self, market: str) -> float | None:
        """Return what a won trade brings now, in percent of its stake; None where the venue has not said."""
        symbol, name = split_market_id(market)
        venue = self.venues.get(name)
        if venue is None:
            return None
        payouts = venue.place.catalog.payouts
        told = payouts.get(_symbol(venue.place.catalog, symbol)) if payouts else None
        return venue.place.venue.contract.payout_percent if told is None else told

    def offer(self, market: str) -> Offer:
        """Return what the venue would take now."""
        branch = self.markets.get(market)
        if branch is None:
            return Offer(is_open=False)
        limit = self.venues[branch.spec.venue].place.catalog.stake_limits.get(self.currency)
        return Offer(
            is_open=not branch.port.hours.is_closed,
            payout_percent=self.payout(market),
            least_stake=None if limit is None else limit.least,
            most_stake=None if limit is None else limit.most,
        )

    def conditions(self, market: str, *, price_age_ms: int) -> Conditions:
        """Return what of a market blocks entries, or does not."""
        branch = self.markets.get(market)
        if branch is None:
            return Conditions(
                rules=self.rules(market),
                payout_percent=None,
                price_age_ms=price_age_ms,
                stale_after_ms=NO_RULES_STALE_MS,
                is_stopped=True,
            )
        row, gap = branch.port.row, branch.port.gaps.open
        return Conditions(
            rules=self.rules(market),
            payout_percent=self.payout(market),
            price_age_ms=price_age_ms,
            stale_after_ms=round(row.stale_after_s * 1_000),
            is_stopped=row.desired is Desired.STOPPED,
            is_closed=row.hours.is_closed,
            has_open_gap=gap is not None and gap.cause not in AT_REST,
        )

    def age_ms(self, market: str) -> int:
        """Return how old a market's last price is by now; of one without a price, older than any."""
        branch = self.markets.get(market)
        last_us = None if branch is None else branch.port.row.last_tick_us
        return NO_PRICE_MS if last_us is None else max(0, now_us() - last_us) // 1_000

    def silence(self, market: str, *, tracker: GapTracker | None, last_us: int) -> Silence:
        """Return the gap that a market is in, if it is. One that is gone is in one since its last price."""
        venue = self.venues.get(split_market_id(market)[1])
        skew_ms = None if venue is None else venue.place.skew.skew_ms
        venue_us = now_us() - round((skew_ms or 0.0) * 1_000)
        if tracker is None:
            # One that was to end with its last price has nothing more to wait for either.
            return Silence(gap=Gap(market, last_us - 1, None, Cause.STOPPED), venue_us=venue_us)
        return Silence(gap=tracker.open, venue_us=venue_us)


def _symbol(catalog: Catalog, name: str) -> str:
    try:
        return catalog.symbol_of(name)
    except UnknownSymbol:
        return name
