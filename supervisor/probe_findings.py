"""What a probe of a venue found: which frames were understood, and what is missing. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping

import attrs

from domain.instruments import Catalog, Listing, StakeLimit
from domain.market import PriceUpdate
from domain.skew import ClockSkew
from venues.events import (
    Balance,
    Balances,
    Closed,
    Leaving,
    NewFields,
    Payouts,
    Refused,
    Send,
    ServerTime,
    StakeLimits,
    Subscribed,
    Unknown,
    VenueEvent,
)
from venues.offers import HistoryPage
from venues.protocol import TokenUse, Venue

# What each event is called in the table; `Send` is ours and no frame's.
KINDS: Mapping[type, str] = {
    PriceUpdate: "price",
    Subscribed: "subscription confirmed",
    Refused: "subscription refused",
    Closed: "market closed",
    ServerTime: "venue's clock",
    Listing: "list of markets",
    Balances: "balances",
    Payouts: "payouts",
    StakeLimits: "stake limits",
    HistoryPage: "history",
    Leaving: "socket is to close",
}
MOST_SAMPLES = 5  # of what could not be decoded


@attrs.define(kw_only=True, eq=False)
class Findings:
    """Counts by kind, and what the frames said of the account and its markets.

    `market` is the one that was subscribed, "" where none was open. Times are of our wall clock.
    """

    understood: Counter[str] = attrs.field(factory=Counter)
    unknown: Counter[str] = attrs.field(factory=Counter)
    different: Counter[str] = attrs.field(factory=Counter)
    samples: list[str] = attrs.field(factory=list)
    balances: dict[tuple[str, str, str], Balance] = attrs.field(factory=dict)
    stake_limits: dict[str, StakeLimit] = attrs.field(factory=dict)
    payouts: dict[str, float] = attrs.field(factory=dict)
    prices: int = 0
    market: str = ""
    trouble: str = ""
    skew: ClockSkew = attrs.field(factory=ClockSkew)
    rtt_ms: float | None = None
    pings: int = 0
    pinged_us: int | None = None  # the last one, until it is answered

    def take(self, event: VenueEvent, *, received_us: int) -> None:
        """Count one event, and keep what it says."""
        match event:
            case Unknown(kind):
                self.unknown[kind] += 1
            case NewFields(kind, fields):
                self.different[f"{kind}: new {', '.join(fields)}"] += 1
            case Send():
                return
            case _:
                self.understood[KINDS.get(type(event), type(event).__name__)] += 1
        match event:
            case PriceUpdate():
                self.prices += event.symbol == self.market
            case Balances(balances):
                self.balances |= {(each.account, each.group, each.currency): each for each in balances}
            case Payouts(percents):
                self.payouts.update(percents)
            case StakeLimits(limits):
                self.stake_limits.update(limits)
            case Refused(symbols, reason) | Closed(symbols, reason):
                self.trouble = f"{', '.join(symbols)}: {reason}"
            case ServerTime():
                self._take_time(event, received_us=received_us)

    def take_undecodable(self, reason: str) -> None:
        """Count a frame that the adapter could not decode."""
        self.different["undecodable"] += 1
        if len(self.samples) < MOST_SAMPLES and reason not in self.samples:
            self.samples.append(reason)

    def _take_time(self, told: ServerTime, *, received_us: int) -> None:
        sent_us = self.pinged_us if told.answers_ping else None
        if sent_us is not None:
            self.rtt_ms = (received_us - sent_us) / 1000
            self.pinged_us = None
        self.skew.heard(
            server_us=told.ts_us, resolution_us=told.resolution_us, sent_us=sent_us, received_us=received_us
        )

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield kind, understood, unknown, different; the most frequent first."""
        for column, counts in enumerate((self.understood, self.unknown, self.different), start=1):
            for kind, count in counts.most_common():
                cells = [kind, "", "", ""]
                cells[column] = str(count)
                yield cells[0], cells[1], cells[2], cells[3]

    def missing(self, venue: Venue, *, catalog: Catalog) -> Iterator[str]:
        """Yield what ought to have come, or to have been understood, and was not."""
        if (venue.lists_markets or venue.rest_listing is not None) and catalog.listed_us is None:
            yield "no list of markets came"
        if venue.token is TokenUse.REQUIRED and not self.balances:
            yield "no balances came"
        if self.market:
            if not self.understood[KINDS[Subscribed]]:
                yield f"the subscription of {self.market} was not confirmed"
            if not self.prices:
                yield f"no price of {self.market} came"
        if self.pings and not self.understood[KINDS[ServerTime]]:
            yield "the ping was not answered"
        if self.trouble:
            yield self.trouble
        if self.different["undecodable"]:
            yield f"{self.different['undecodable']} frames could not be decoded, such as: {self.samples[0]}"
