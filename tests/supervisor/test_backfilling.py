import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trees import SYMBOLS, grown_tree, until

import actors.backfill
import supervisor.memory
from actors.ports import VenuePlace
from domain.errors import ConnectionLost, UnknownSymbol
from domain.instruments import Catalog, Instrument, Listing
from domain.skew import ClockSkew
from supervisor.backfilling import ask_over_http, ask_over_socket, history_of
from supervisor.cgroups import Bound
from supervisor.policy import SupervisionSettings
from supervisor.simulate import service
from venues import find_venue
from venues.offers import HistoryPage, HistoryRequest, HttpRequest
from venues.settings import VenueSettings
from venues.simulated.faults import Fault, Kind

WISH = HistoryRequest(7, "EURUSD", 1_000_000, 2_000_000, None)


def rows(state_dir: Path, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(state_dir / "marketd.db")) as connection:
        return connection.execute(sql).fetchall()


def venue_place(*, source: str | None = None, catalog: Catalog | None = None) -> VenuePlace:
    async def no_gate() -> None:
        await trio.lowlevel.checkpoint()

    return VenuePlace(
        name="sim",
        venue=find_venue("binance"),
        settings=VenueSettings(protocol="binance", url="ws://127.0.0.1:9/stream", source=source),
        catalog=catalog or Catalog(venue="sim"),
        skew=ClockSkew(),
        read_token=lambda: None,
        token_refused=lambda _: None,
        listed=lambda: None,
        terms_told=lambda: None,
        wait_turn=no_gate,
        recorder=None,
    )


# --- a whole daemon ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "source"), [("binance", "trades"), ("kraken", "trades"), ("deriv", "quotes")]
)
async def test_after_a_cut_nothing_of_what_happened_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, source: str
) -> None:
    monkeypatch.setattr(actors.backfill, "SETTLE_US", 100_000)
    monkeypatch.setattr(actors.backfill, "LOOK_EVERY_S", 0.05)
    make, made = service.MAKERS[protocol], []
    monkeypatch.setitem(service.MAKERS, protocol, lambda **given: made.append(make(**given)) or made[-1])
    faults = (Fault(kind=Kind.REFUSE, at_s=2.0, duration_s=2.0),)

    def is_filled() -> bool:
        gaps = rows(tmp_path, "SELECT market_id, fill FROM gap WHERE cause = 'disconnect'")
        return len({market for market, _ in gaps}) == 3 and {fill for _, fill in gaps} == {"full"}

    patient = SupervisionSettings(start_delay_ms=1, backoff_min_s=0.8, backoff_max_s=0.8)  # within budgets
    settings = {"protocol": protocol, "source": source, "supervision": patient}
    async with grown_tree(tmp_path, faults=faults, **settings) as grown:
        await grown.all_live()
        await until(is_filled)
    [venue] = made
    by_symbol = getattr(venue, "_by_symbol", None) or venue._markets
    for symbol in SYMBOLS:
        told = [
            tuple(row)
            for row in rows(
                tmp_path,
                "SELECT ts_us, price, source FROM tick JOIN market ON market.id = market_id "
                f"WHERE symbol = '{symbol}' ORDER BY ts_us, seq",
            )
        ]
        happened = by_symbol[symbol].past.between(told[0][0], told[-1][0])
        assert [price for _, price, _ in told] == [tick.price for tick in happened]
        assert {how for *_, how in told} == {"live", "backfill"}
    outside = rows(
        tmp_path,
        "SELECT count(*) FROM tick WHERE source = 'backfill' AND NOT EXISTS (SELECT 1 FROM gap "
        "WHERE gap.market_id = tick.market_id AND from_us < ts_us AND ts_us < to_us)",
    )
    assert outside == [(0,)]


async def test_while_memory_is_short_gaps_wait_and_feeds_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors.backfill, "SETTLE_US", 100_000)
    monkeypatch.setattr(actors.backfill, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(supervisor.memory, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(supervisor.memory, "CALM_S", 0.1)
    # late enough for a busy machine: a market that had no price before the cut has no gap
    faults = (Fault(kind=Kind.REFUSE, at_s=2.0, duration_s=0.5),)
    used = 90

    def fills() -> set[str]:
        return {fill for (fill,) in rows(tmp_path, "SELECT fill FROM gap WHERE cause = 'disconnect'")}

    patient = SupervisionSettings(start_delay_ms=1, backoff_min_s=0.2, backoff_max_s=0.2)  # within budgets
    async with grown_tree(tmp_path, faults=faults, source="trades", supervision=patient) as grown:
        tree = grown.tree
        tree.memory.bounds = lambda: [Bound(name="fed", limit_bytes=100, used_bytes=used)]
        await until(lambda: tree.memory.is_short)
        await until(lambda: fills() == {"none"} and tree.board.live_markets() == len(SYMBOLS))
        stored = tree.writer.statistics().stored
        await until(lambda: tree.writer.statistics().stored > stored + 100)
        assert fills() == {"none"}
        assert grown.status()["process"]["is_memory_short"]
        assert grown.status()["process"]["memory_limit_bytes"] == 100
        used = 50
        await until(lambda: fills() == {"full"})
        assert not tree.memory.is_short


# --- what it asks by --------------------------------------------------------------------------


async def test_a_market_that_was_removed_is_not_asked_for() -> None:
    with pytest.raises(ConnectionLost):
        await ask_over_socket({}, "sim", WISH)


async def test_a_history_of_another_source_fills_nothing() -> None:
    assert history_of(venue_place(source="quotes")) is None
    assert history_of(venue_place(source="trades")) is not None
    assert history_of(venue_place()) is not None


@attrs.define
class Answers:
    """A REST interface that answers with one body."""

    body: bytes = b"[]"
    asked: list[HttpRequest] = attrs.field(factory=list)

    async def fetch(self, request: HttpRequest, /, *, timeout_s: float) -> "Answers":
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        return self


async def over_http(server: Answers, place: VenuePlace) -> HistoryPage:
    history = history_of(place)
    assert history is not None
    assert history.rest is not None
    return await ask_over_http(history.rest, place, server.fetch, WISH)


async def test_the_venue_is_asked_by_its_own_name_of_a_market() -> None:
    catalog = Catalog(venue="sim")
    server = Answers()
    page = await over_http(server, venue_place(catalog=catalog))
    assert (page.id, page.ticks) == (7, ())
    catalog.take(Listing((Instrument("EUR_USD"),), is_whole=True), at_us=5)
    await over_http(server, venue_place(catalog=catalog))
    assert ["EUR_USD" in request.url for request in server.asked] == [False, True]
    assert all(request.url.startswith("http://127.0.0.1:9/") for request in server.asked)


async def test_a_market_that_the_venue_does_not_list_is_not_asked_for() -> None:
    catalog = Catalog(venue="sim")
    catalog.take(Listing((Instrument("GBPUSD"),), is_whole=True), at_us=5)
    server = Answers()
    with pytest.raises(UnknownSymbol):
        await over_http(server, venue_place(catalog=catalog))
    assert server.asked == []
