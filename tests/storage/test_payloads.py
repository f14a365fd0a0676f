from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import money, ticks
from ledgers import a_signal, a_step, a_trade, as_money, settled

from domain.gaps import Gap, GapFill
from domain.market import MAX_INTEGER, HistoryCandle, Tick
from domain.messages import ActorEvent
from storage.payloads import (
    ACTOR_LENGTH,
    DETAIL_LENGTH,
    EVENT_LENGTH,
    EventNumbers,
    EventRow,
    Lane,
    Money,
    checksum,
    decode,
    encode,
)

INTEGERS = st.integers(min_value=0, max_value=MAX_INTEGER)
PRICES = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TICKS = st.builds(
    Tick, TEXTS, INTEGERS, INTEGERS, PRICES, st.none() | PRICES, st.none() | PRICES, st.none() | PRICES,
    INTEGERS, st.sampled_from(["live", "backfill", "imported"]),
)  # fmt: skip
MONEY = st.builds(
    Money,
    gaps=st.lists(st.builds(Gap, TEXTS, INTEGERS, st.none() | INTEGERS, TEXTS, TEXTS, TEXTS)),
    events=st.lists(st.builds(EventRow, INTEGERS, INTEGERS, TEXTS, TEXTS, TEXTS)),
)


@given(st.lists(TICKS, max_size=20))
def test_ticks_come_back_to_the_last_bit(given_ticks: list[Tick]) -> None:
    found = decode(Lane.TICKS, encode(given_ticks))
    assert found == given_ticks
    assert repr(found) == repr(given_ticks)  # -0.0 too


@given(MONEY)
def test_money_comes_back_as_it_was(given_money: Money) -> None:
    assert decode(Lane.MONEY, encode(given_money)) == given_money


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_are_rows(content: bytes) -> None:
    for lane in Lane:
        try:
            rows = decode(lane, content)
        except ValueError:
            continue
        assert isinstance(rows, Money if lane is Lane.MONEY else list)


@pytest.mark.parametrize("bit", range(8))
def test_the_checksum_tells_every_flipped_bit(bit: int) -> None:
    payload = encode(ticks(1))
    right = checksum(payload, journal_id=3, lane=Lane.TICKS, number=4, rows=6)
    for at in range(len(payload)):
        other = payload[:at] + bytes([payload[at] ^ 1 << bit]) + payload[at + 1 :]
        assert checksum(other, journal_id=3, lane=Lane.TICKS, number=4, rows=6) != right


def test_the_checksum_tells_another_name() -> None:
    payload = encode(money(1))
    sums = {
        checksum(payload, journal_id=journal_id, lane=lane, number=number, rows=rows)
        for journal_id in (1, 11)
        for lane in Lane
        for number in (1, 11)
        for rows in (1, 11)
    }
    assert len(sums) == 16


def test_events_are_numbered_by_the_clock_and_never_twice() -> None:
    numbers = EventNumbers()
    event = ActorEvent(ts_us=1, actor="a", event="state", detail="")
    assert [numbers.row(event, at_us=at_us).id for at_us in (50, 50, 10, 60)] == [50, 51, 52, 60]


def test_an_event_is_cut_to_what_its_table_takes() -> None:
    event = ActorEvent(ts_us=1, actor="a" * 999, event="e" * 999, detail="ü\0\udcff" * 9_999)
    row = EventNumbers().row(event, at_us=1)
    assert (len(row.actor), len(row.event), len(row.detail)) == (ACTOR_LENGTH, EVENT_LENGTH, DETAIL_LENGTH)
    assert set(row.detail) == {"ü", "?"}


def test_a_journal_from_before_gaps_were_filled_is_read() -> None:
    gap = Gap("M1@sim", 1, None, "stale")
    before = encode({"gaps": [gap], "events": []})
    assert decode(Lane.MONEY, before) == Money(gaps=[gap])


def test_what_fills_a_gap_comes_back_as_it_was() -> None:
    rows = Money(
        fills=[GapFill("M1@sim", 1, 9, "stale", "full", "ü ticks")],
        candles=[HistoryCandle("M1@sim", 60, 120, 1.0, 3.0, 0.5, 2.0, 0.0)],
    )
    assert decode(Lane.MONEY, encode(rows)) == rows
    assert len(rows) == 2


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_money_of_a_trade_comes_back_to_the_last_digit(amount: Decimal) -> None:
    signal = a_signal(1)
    trade = settled(a_trade(signal))._replace(stake=amount, profit=-amount)
    rows = as_money(signal, a_trade(signal), trade, a_step(trade, 1))
    found = decode(Lane.MONEY, encode(rows))
    assert found == rows
    assert repr(found) == repr(rows)  # its zeros too
    assert len(rows) == 4


def test_a_journal_from_before_there_was_a_ledger_is_read() -> None:
    gap = Gap("M1@sim", 1, None, "stale")
    before = encode({"gaps": [gap], "events": [], "fills": [], "candles": []})
    assert decode(Lane.MONEY, before) == Money(gaps=[gap])
