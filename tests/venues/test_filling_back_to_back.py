"""Gaps filled by each adapter from its simulated side's past: what comes is what was."""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from deriv_pair import STARTED_US, Pair, make_venue
from hosts import HostKeepsAll
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.gaps import Gap
from domain.market import HistoryCandle, Tick
from venues import binance, olymptrade
from venues.events import Send
from venues.filling import CandleFilling, Filling, TickFilling
from venues.offers import HistoryPage, HistoryRequest
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.binance import SimulatedBinance
from venues.simulated.hours import Hours
from venues.simulated.olymptrade import SimulatedOlympTrade
from venues.simulated.past import Past, PastTick
from venues.simulated.prices import PricePath
from venues.simulated.protocol import Request

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US

Ask = Callable[[HistoryRequest], HistoryPage]


def fill(filling: Filling, symbol: str, ask: Ask) -> tuple[list[Tick], list[HistoryCandle]]:
    """Fill a gap to its end; return what came, in the order it came in."""
    ticks: list[Tick] = []
    candles: list[HistoryCandle] = []
    while (wish := filling.wish) is not None:
        portion = filling.take(ask(HistoryRequest(len(ticks), symbol, *wish)), received_us=5)
        ticks += portion.ticks
        candles += portion.candles
    return ticks, candles


def a_gap(from_us: int, to_us: int) -> Gap:
    return Gap("EURUSD@sim", from_us, to_us, "disconnect")


def remember(past: Past, times_us: Sequence[int], *, first_number: int | None) -> list[PastTick]:
    """Let a market have had a tick at each of these times."""
    told = []
    for number, ts_us in enumerate(sorted(times_us)):
        seq = 0 if first_number is None else first_number + number
        told.append(PastTick(ts_us, seq, 1.0 + number % 97 / 64, 2.0))
        past.add(told[-1])
    return told


# --- Binance, over HTTP -----------------------------------------------------------------------


def ask_binance(venue: SimulatedBinance) -> Ask:
    history = binance.VENUE.history
    assert history is not None
    assert history.rest is not None
    rest = history.rest

    def ask(request: HistoryRequest) -> HistoryPage:
        asked = rest.request(request, "http://127.0.0.1:1")
        target = urlsplit(asked.url)
        headers = {name.lower(): value for name, value in asked.headers.items()}
        answer = venue.answer(
            Request(asked.method, f"{target.path}?{target.query}", headers), at_us=STARTED_US
        )
        assert answer.status == 200
        return rest.read(request, answer.body)

    return ask


bursts = st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 900)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=30)
@given(bursts, st.integers(0, 2_000), st.integers(2, 2_000), st.integers(0, 999))
def test_every_trade_inside_comes_from_binance_once(
    some: list[tuple[int, int]], from_ms: int, length_ms: int, more_us: int
) -> None:
    prices = {"EURUSD": PricePath(seed=7, symbol="EURUSD")}
    venue = SimulatedBinance(prices=prices, started_us=STARTED_US, accepts=lambda _: False)
    # Bursts of many trades with one time are cut by the end of a page. It is asked for by milliseconds,
    # whether the times are whole ones or not.
    begin_us = STARTED_US // 1_000 * 1_000 + more_us
    times = [begin_us + at * 1_000 for at, count in dict(some).items() for _ in range(count)]
    past = remember(venue._markets["EURUSD"].past, times, first_number=100)
    gap = a_gap(begin_us + from_ms * 1_000, begin_us + (from_ms + length_ms) * 1_000)
    filling = TickFilling(gap, begins_us=0, reached_us=0)
    ticks, _ = fill(filling, "EURUSD", ask_binance(venue))
    inside = [tick for tick in past if gap.from_us < tick.ts_us < (gap.to_us or 0)]
    assert [(tick.ts_us, tick.seq, tick.price, tick.volume) for tick in ticks] == inside
    assert filling.outcome().fill == "full"


# --- Deriv, over the socket -------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 20_000), st.integers(2, 20_000), st.integers(1, 5), st.sampled_from(["new", "legacy"]))
def test_every_tick_inside_comes_from_deriv_once(
    from_s: int, length_s: int, every_s: int, dialect: str
) -> None:
    venue = make_venue("EURUSD")
    begin_us = (STARTED_US // SECOND_US - 41_000) * SECOND_US
    around = range(max(0, from_s - 20), from_s + length_s + 20, every_s)
    times = [begin_us + at * SECOND_US for at in around]
    past = remember(venue.markets["frxEURUSD"].past, times, first_number=None)
    pair = Pair(venue, dialect=dialect)

    def ask(request: HistoryRequest) -> HistoryPage:
        events = [*pair.say(pair.adapter.ask_history(request)), *pair.settle()]
        [page] = [event for event in events if isinstance(event, HistoryPage)]
        return page

    gap = a_gap(begin_us + from_s * SECOND_US, begin_us + (from_s + length_s) * SECOND_US)
    filling = TickFilling(gap, begins_us=0, reached_us=0)
    ticks, _ = fill(filling, "frxEURUSD", ask)
    inside = [tick for tick in past if gap.from_us < tick.ts_us < (gap.to_us or 0)]
    assert [(tick.ts_us, tick.seq, tick.price) for tick in ticks] == [tick[:3] for tick in inside]
    assert filling.outcome().fill == "full"


# --- Olymp Trade, candles ---------------------------------------------------------------------


def ask_olymp(venue: SimulatedOlympTrade) -> Ask:
    given_settings = VenueSettings(protocol="olymptrade", url="ws://127.0.0.1:1")
    wanted = olymptrade.VENUE.upgrade(given_settings, "simulated")
    said = {name.lower(): value for name, value in wanted.headers.items()}
    host = HostKeepsAll()
    session = venue.open_session(
        request=Request("GET", wanted.url.removeprefix("ws://127.0.0.1:1"), said),
        host=host,
        at_us=STARTED_US,
    )
    context = SessionContext(settings=given_settings, token="simulated", started_us=STARTED_US)
    adapter = olymptrade.OlympTradeAdapter(context)

    def ask(request: HistoryRequest) -> HistoryPage:
        outgoing = adapter.ask_history(request)
        for _ in range(2_000):
            if outgoing:
                session.receive(outgoing.pop(0))
            host.pass_time(0.2)
            for text in host.take_sent():
                for event in adapter.receive(text):
                    if isinstance(event, HistoryPage):
                        return event
                    outgoing += event.frames if isinstance(event, Send) else ()
        raise AssertionError("no page came")

    return ask


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 900),
    st.integers(2, 900),
    st.integers(0, MINUTE_US - 1),
    st.sets(st.integers(0, 60), max_size=9),
)
def test_every_candle_inside_comes_from_olymp_trade_once(
    from_min: int, length_min: int, off_us: int, quiet_hours: set[int]
) -> None:
    venue = SimulatedOlympTrade(
        prices={"EURUSD": PricePath(seed=7, symbol="EURUSD")},
        started_us=STARTED_US,
        accepts=lambda _: False,
        hours=Hours.ALWAYS,
    )
    begin_us = STARTED_US // MINUTE_US * MINUTE_US - 2_000 * MINUTE_US
    minutes = [at for at in range(2_000) if at // 60 not in quiet_hours]
    times = [begin_us + at * MINUTE_US + more * SECOND_US for at in minutes for more in (1, 20, 50)]
    past = venue._markets["EURUSD"].past
    remember(past, times, first_number=None)
    gap = a_gap(begin_us + from_min * MINUTE_US + off_us, begin_us + (from_min + length_min) * MINUTE_US)
    filling = CandleFilling(gap, begins_us=0, timeframes_s=[60])
    _, candles = fill(filling, "EURUSD", ask_olymp(venue))
    every = past.candles(begin_us, begin_us + 2_000 * MINUTE_US, timeframe_us=MINUTE_US)
    inside = [
        each for each in every if gap.from_us < each.open_us and each.open_us + MINUTE_US <= (gap.to_us or 0)
    ]
    assert [each[2:7] for each in candles] == [each[:5] for each in inside]
    assert filling.outcome().fill == ("candles" if inside else "not_available")
