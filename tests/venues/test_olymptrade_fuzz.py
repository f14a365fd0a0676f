"""Whatever comes, the adapter says what it understood or raises the one error it may raise."""

import contextlib
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spoilt import spoil

from domain.errors import RemoteProtocolError
from domain.market import PriceUpdate, check_update
from venues.offers import HistoryRequest
from venues.olymptrade import OlympTradeAdapter
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from wire.recording import Direction, read

RECORDING = Path(__file__).parent.parent / "recordings" / "olymptrade.jsonl"
FRAMES = [frame.frame for frame in read(RECORDING) if frame.direction is Direction.IN] + [
    '[{"d":[{"p":"EURUSD","t":1751668293.5,"q":1.17781}],"e":1,"t":1}]',
    '[{"d":[{"pair":"EURUSD","profitability":82}],"e":183,"t":1}]',
    '[{"d":[{"p":"EURUSD","candles":[{"t":60,"open":1.5,"high":1.6,"low":1.4,"close":1.5}]}],'
    '"e":10,"t":3,"uuid":"$"}]',
    '[{"e":12,"t":3,"uuid":"$","d":[],"err":[{"code":"pair_unavailable","mess":"no"}]}]',
    '[{"e":12,"t":3,"uuid":"$","d":[],"err":[{"code":"invalid_request","mess":"no"}]}]',
]
DEEP = "[" * 100_000


def adapter() -> OlympTradeAdapter:
    context = SessionContext(settings=VenueSettings(protocol="olymptrade"), token="x", started_us=1)
    return OlympTradeAdapter(context)


def take(client: OlympTradeAdapter, frame: str | bytes) -> None:
    """Decode and check, as the connection does; after a subscribe and a wish for history."""
    asked = client.subscribe(["EURUSD"]) + client.ask_history(HistoryRequest(1, "EURUSD", 0, 10**9, 60))
    if isinstance(frame, str):
        # `$` is the id that its answer would carry: the subscribe's, else the wish's.
        uuid = json.loads(asked[0] if '"e":12' in frame.replace(" ", "") else asked[-1])[0]["uuid"]
        frame = frame.replace('"$"', f'"{uuid}"')
    check(client, frame)


def check(client: OlympTradeAdapter, frame: str | bytes) -> None:
    for event in client.receive(frame):
        if isinstance(event, PriceUpdate):
            check_update(event)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "not json",
        "null",
        "{}",
        "[null]",
        "[1]",
        "[{}]",
        '[{"e":"1"}]',
        '[{"e":1.5}]',
        '[{"e":1}]',
        '[{"e":1,"d":null}]',
        '[{"e":1,"d":{}}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":"1","q":1.5}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1,"q":"1.5"}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1,"q":NaN}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1,"q":-1}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1,"q":0}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1e308,"q":1.5}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":1e999,"q":1.5}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":-1,"q":1.5}]}]',
        '[{"e":1,"d":[{"p":"EURUSD","t":' + "9" * 5000 + ',"q":1.5}]}]',
        '[{"e":' + "9" * 5000 + "}]",
        '[{"e":90,"t":3}]',
        '[{"e":90,"t":3,"ts":"soon"}]',
        '[{"e":1054,"d":{}}]',
        '[{"e":1054,"d":[' + DEEP,
        '[{"e":55,"d":' + '{"a":' * 100_000,
        DEEP,
        "\ud800",
        '[{"e":1,"d":[{"p":"\ud800","t":1,"q":1}]}]',
        b"\xff\xfe",
        b'[{"e":1,"uuid":"\xff"}]',
        b"\x00" * 1000,
    ],
    ids=lambda frame: repr(frame[:50]),
)
def test_what_cannot_be_read_is_a_protocol_error_with_a_short_sample(frame: str | bytes) -> None:
    client = adapter()
    client.subscribe(["EURUSD"])
    with pytest.raises(RemoteProtocolError) as error:
        check(client, frame)
    assert len(error.value.frame) < 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
CODES = st.sampled_from([1, 10, 12, 13, 55, 75, 90, 98, 182, 183, 280, 281, 301, 1003, 1054, 2223, 9999])
WORDS = (
    "p t q pair profitability id title aliases group locked time_open account_id amount min max candles "
    "open high low close volume code mess"
)
KEYS = st.sampled_from(WORDS.split())
ITEMS = st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON), max_size=3), max_size=8)
MESSAGES = st.fixed_dictionaries(
    {"e": CODES},
    optional={
        "t": st.sampled_from([1, 2, 3, None]),
        "uuid": st.sampled_from(["$", "x", None]),
        "d": JSON | ITEMS | st.lists(ITEMS, max_size=3),
        "ts": JSON,
        "err": JSON | st.lists(ITEMS, max_size=2),
    },
)
GARBAGE = (
    st.text()
    | st.text(alphabet='{}[]":,0123456789eE+-.\\udnul', max_size=60)
    | st.binary()
    | JSON.map(json.dumps)
    | st.lists(MESSAGES, max_size=3).map(json.dumps)
)


@given(frame=GARBAGE)
@example(frame='[{"e":301,"d":[{"profitability":1,"pair":2}]}]')
@example(frame='[{"e":1054,"d":[{"id":"X","time_open":1e308}]}]')
def test_nothing_but_a_protocol_error_escapes(frame: str | bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        take(adapter(), frame)


@given(frame=st.sampled_from(FRAMES), seed=st.integers(0, 2**32))
def test_a_real_frame_that_was_spoilt_is_understood_or_a_protocol_error(frame: str, seed: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        take(adapter(), spoil(frame, Random(seed)))


@given(frames=st.lists(st.sampled_from(FRAMES), max_size=8), seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_a_session_survives_any_order_of_frames(frames: list[str], seed: int) -> None:
    client, random = adapter(), Random(seed)
    for frame in frames:
        with contextlib.suppress(RemoteProtocolError):
            take(client, spoil(frame, random) if random.random() < 0.5 else frame)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_a_million_spoilt_frames(part: int) -> None:
    random = Random(part)
    short = [frame for frame in FRAMES if len(frame) < 2_000]
    client = adapter()
    for number in range(250_000):
        if number % 10 == 0:
            client = adapter()
        frame = random.choice(FRAMES if number % 100 == 0 else short)
        with contextlib.suppress(RemoteProtocolError):
            take(client, spoil(frame, random))
