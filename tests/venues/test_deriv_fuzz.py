import contextlib
import json
from collections.abc import Sequence
from random import Random

import pytest
from deriv_pair import ID, TICK, confirm, context, error, past_page
from hypothesis import example, given
from hypothesis import strategies as st
from spoilt import spoil

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate, check_update
from venues.deriv import DerivAdapter
from venues.offers import HistoryRequest

FROM_US = 1_587_547_610_500_000
TICK_TEXT = json.dumps(TICK)
DEEP = "[" * 100_000
BROKEN = [
    "",
    "not json",
    "null",
    "[]",
    "{}",
    '{"msg_type":7}',
    '{"msg_type":"time"}',
    '{"msg_type":"time","time":"soon"}',
    '{"msg_type":"time","time":1e30}',
    '{"msg_type":"time","time":99999999999999999999}',
    '{"msg_type":"active_symbols"}',
    '{"msg_type":"active_symbols","active_symbols":7}',
    '{"msg_type":"authorize","authorize":{}}',
    '{"msg_type":"tick","error":7}',
    '{"msg_type":"tick","tick":{}}',
    '{"msg_type":"tick","tick":' + DEEP,
    TICK_TEXT[:-1],
    TICK_TEXT.replace("218.0926", '"a lot"'),
    TICK_TEXT.replace("218.0926", '""'),
    TICK_TEXT.replace("218.0926", "true"),
    TICK_TEXT.replace("218.0926", "9" * 5_000),
    TICK_TEXT.replace("218.0926", "9" * 400),
    TICK_TEXT.replace("1587547610", "1.5"),
    TICK_TEXT.replace("1587547610", '"' + "9" * 5_000 + '"'),
    TICK_TEXT.replace('"R_50"', "7"),
    DEEP,
    "\ud800",
    '{"msg_type":"\ud800"}',
    b"\xff\xfe",
    b'{"msg_type":"\xff"}',
    b"\x00" * 1000,
]


@pytest.mark.parametrize("frame", BROKEN, ids=lambda frame: repr(frame[:40]))
def test_what_cannot_be_read_is_a_protocol_error_with_a_short_sample(frame: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        watching().receive(frame)
    assert len(raised.value.frame) < 1000


@pytest.mark.parametrize("quote", ["0", "-1", '"nan"', '"inf"', '"1e999"', "1e-400"])
def test_a_price_that_cannot_be_stored_does_not_get_past_the_check(quote: str) -> None:
    with pytest.raises(RemoteProtocolError):
        take(watching(), TICK_TEXT.replace("218.0926", quote))


@pytest.mark.parametrize("epoch", ["0", "-5", "1587547610000", '"1587547610000"', "9" * 30])
def test_a_time_that_is_none_in_seconds_is_a_protocol_error(epoch: str) -> None:
    with pytest.raises(RemoteProtocolError, match="is not a time in seconds"):
        watching().receive(TICK_TEXT.replace("1587547610", epoch))


def take(adapter: DerivAdapter, frame: str | bytes) -> None:
    """Decode and check, as the connection does."""
    for event in adapter.receive(frame):
        if isinstance(event, PriceUpdate):
            check_update(event)


def watching() -> DerivAdapter:
    """An adapter that subscribed R_50, by request 1."""
    adapter = DerivAdapter(context())
    adapter.subscribe(["R_50"])
    confirm(adapter, 1)
    return adapter


def busy() -> DerivAdapter:
    """An adapter that waits for an answer of every kind; request ids from 1 to 12."""
    adapter = DerivAdapter(context(dialect="legacy", token="good"))
    adapter.opening()
    adapter.subscribe(["R_50", "R_75", "frxEURUSD"])
    confirm(adapter, 2)
    adapter.unsubscribe(["R_50"])
    adapter.subscribe(["R_50"])
    adapter.refresh()
    adapter.ping()
    adapter.ask_history(HistoryRequest(5, "R_50", FROM_US, FROM_US + 10_000_000, None))
    adapter.ask_history(HistoryRequest(6, "R_50", FROM_US, FROM_US + 600_000_000, 60))
    adapter.leave(["R_50"])
    return adapter


LISTED = [{"symbol": "frxEURUSD", "exchange_is_open": 1}, {"underlying_symbol": "R_50"}]
REAL = [
    TICK,
    {**TICK, "req_id": 3},
    error("InvalidToken", req_id=1),
    error("MarketIsClosed", req_id=3),
    error("RateLimit", req_id=4),
    {"msg_type": "active_symbols", "req_id": 6, "active_symbols": LISTED},
    {"msg_type": "authorize", "req_id": 1, "authorize": {"loginid": "CR1", "is_virtual": 0}},
    {"msg_type": "balance", "balance": {"balance": 1.5, "currency": "USD", "loginid": "CR1"}},
    {"msg_type": "candles", "req_id": 10, "candles": [{"epoch": 1, "open": 1, "high": 1, "low": 1}]},
    {"msg_type": "contracts_for", "req_id": 5, "contracts_for": {"available": [], "open": 1, "close": 2}},
    {"msg_type": "forget", "req_id": 5, "forget": 1},
    {"msg_type": "forget_all", "req_id": 11, "forget_all": [ID]},
    {"msg_type": "ping", "req_id": 8, "ping": "pong"},
    {"msg_type": "time", "req_id": 7, "time": 1587544006},
    past_page([1587547611], req_id=9),
]  # fmt: skip
FRAMES = [json.dumps(message) for message in REAL]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 12)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["R_50", "frxEURUSD", "tick", "history", "1.5", "NaN", ID, "9" * 400])
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
KEYS = sorted({key for message in REAL for key in message} | {"error", "code", "symbol", "epoch", "quote"})

GARBAGE = (
    st.builds(
        lambda frame, seed: spoil(frame, Random(seed), keys=KEYS),
        st.sampled_from(FRAMES),
        st.integers(0, 2**32),
    )
    | st.sampled_from(FRAMES)
    | st.text()
    | st.text(alphabet='{}[]":,0123456789eE+-.\\udnul', max_size=60)
    | st.binary()
    | JSON.map(json.dumps)
    | st.dictionaries(st.sampled_from(KEYS), JSON).map(json.dumps)
    | st.dictionaries(st.sampled_from(KEYS), JSON).map(lambda value: json.dumps(value).encode())
)


def take_all(frames: Sequence[str | bytes]) -> None:
    adapter = busy()
    for frame in frames:
        with contextlib.suppress(RemoteProtocolError):
            take(adapter, frame)
    assert adapter.subscribe(["R_10"])  # it still works


@given(frames=st.lists(GARBAGE, min_size=1, max_size=5))
@example(frames=[json.dumps(message) for message in REAL])
def test_nothing_but_a_protocol_error_escapes(frames: list[str | bytes]) -> None:
    take_all(frames)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_a_million_spoilt_frames(part: int) -> None:
    random = Random(part)
    for _ in range(25_000):
        take_all([spoil(random.choice(FRAMES), random, keys=KEYS) for _ in range(10)])
