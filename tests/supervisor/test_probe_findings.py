from decimal import Decimal

import attrs
import pytest

from domain.instruments import Catalog, Instrument, Listing
from domain.market import PriceUpdate
from supervisor.probe_findings import MOST_SAMPLES, Findings
from venues import find_venue
from venues.events import (
    Balance,
    Balances,
    NewFields,
    Refused,
    Send,
    ServerTime,
    Subscribed,
    Unknown,
    VenueEvent,
)
from venues.protocol import TokenUse

NOON_US = 1_795_000_000_000_000
VENUE = attrs.evolve(
    find_venue("binance"), lists_markets=True, rest_listing=None, token=TokenUse.REQUIRED, ping_every_s=30.0
)
LISTING = Listing((Instrument("EURUSD"),), is_whole=True)
PRICE = PriceUpdate("EURUSD", NOON_US, 1, 1.17, None, None)
ALL: tuple[VenueEvent, ...] = (
    Balances((Balance("1", "demo", "USD", Decimal(10)),)),
    Subscribed(("EURUSD",)),
    PRICE,
    ServerTime(NOON_US, 1, answers_ping=True),
)


def found(*events: VenueEvent, listed: bool = True) -> list[str]:
    """Return what is missing after these events in a probe of EURUSD."""
    findings, catalog = Findings(market="EURUSD", pings=1, pinged_us=NOON_US), Catalog(venue="v")
    if listed:
        catalog.take(LISTING, at_us=NOON_US)
    for event in events:
        findings.take(event, received_us=NOON_US + 1)
    return list(findings.missing(VENUE, catalog=catalog))


def test_nothing_is_missing_where_everything_came() -> None:
    assert found(*ALL) == []


@pytest.mark.parametrize(
    ("number", "says"),
    [(0, "balances"), (1, "not confirmed"), (2, "no price"), (3, "ping was not answered")],
)
def test_what_did_not_come_is_missing(number: int, says: str) -> None:
    (missing,) = found(*ALL[:number], *ALL[number + 1 :])
    assert says in missing


def test_a_list_that_did_not_come_is_missing() -> None:
    assert found(*ALL, listed=False) == ["no list of markets came"]


def test_prices_of_another_market_do_not_count() -> None:
    events = [event for event in ALL if event is not PRICE]
    assert found(*events, PRICE._replace(symbol="GBPUSD")) == ["no price of EURUSD came"]


def test_a_refusal_is_missing_with_its_reason() -> None:
    assert "EURUSD: locked" in found(*ALL, Refused(("EURUSD",), "locked"))


def test_unknown_messages_and_new_fields_are_counted_and_not_missing() -> None:
    findings = Findings()
    for event in (Unknown("e 999"), Unknown("e 999"), NewFields("tick", ("spread",)), Send(("x",)), PRICE):
        findings.take(event, received_us=NOON_US)
    assert list(findings.rows()) == [
        ("price", "1", "", ""),
        ("e 999", "", "2", ""),
        ("tick: new spread", "", "", "1"),
    ]


def test_undecodable_frames_are_counted_and_a_few_are_shown() -> None:
    findings = Findings(market="")
    for number in range(50):
        findings.take_undecodable(f"bad frame {number}")
    assert len(findings.samples) == MOST_SAMPLES
    (missing,) = findings.missing(find_venue("binance"), catalog=listed_catalog())
    assert missing.startswith("50 frames could not be decoded, such as: bad frame 0")


def listed_catalog() -> Catalog:
    catalog = Catalog(venue="v")
    catalog.take(LISTING, at_us=NOON_US)
    return catalog


def test_the_answer_to_a_ping_tells_its_way_and_the_clock() -> None:
    findings = Findings(pings=1, pinged_us=NOON_US)
    findings.take(ServerTime(NOON_US + 40_000, 1, answers_ping=True), received_us=NOON_US + 80_000)
    assert findings.rtt_ms == 80.0
    assert findings.skew.skew_ms == pytest.approx(0.0)
    assert findings.pinged_us is None
