from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from databases import AnyDatabase
from filled import open_own
from hypothesis import given
from hypothesis import strategies as st
from ledgers import SECOND_US, a_signal, a_step, a_trade, as_money, settled
from storing import storing

from domain.trades import LedgerRow, Mode, Position, Trade
from storage import ledger
from storage.ledger import remembered, total_profit
from storage.migrations import bring_up_to_date

NEVER_US = 2**62


def keep(database: AnyDatabase, folder: Path, rows: Sequence[LedgerRow]) -> None:
    with storing(folder, database.target) as run:
        run.accept(as_money(*rows))
        run.store_all()


def positions(database: AnyDatabase, **most: int) -> list[Position]:
    with open_own(database.target) as session:
        return remembered(session, mode=Mode.PAPER, **{"since_us": NEVER_US, **most})


def numbers(found: Sequence[Position]) -> list[int]:
    """Return which seconds the trades were decided in."""
    return [position.ts_us // SECOND_US for position in found]


def test_a_position_is_the_trade_with_what_its_signal_says(database: AnyDatabase, tmp_path: Path) -> None:
    signals = [a_signal(number, market=f"M{number}@sim", strategy=f"s{number}") for number in (2, 1)]
    trades = [settled(a_trade(signals[0]), profit="-7.125"), a_trade(signals[1], stake="0.00000001")]
    keep(database, tmp_path, [*signals, *trades])
    assert positions(database) == [
        Position(trade=trade, strategy=signal.strategy, expiry_s=60, ts_us=signal.ts_us)
        for signal, trade in zip(signals[::-1], trades[::-1], strict=True)
    ]


def test_amounts_are_to_the_cent_whatever_the_database_makes_of_them(
    database: AnyDatabase, tmp_path: Path
) -> None:
    signals = [a_signal(number) for number in (1, 2)]
    trades = [a_trade(signals[0], stake="10"), a_trade(signals[1], stake="0.12500000")]
    keep(database, tmp_path, [*signals, *trades])
    assert [str(each.trade.stake) for each in positions(database)] == ["10.00", "0.125"]


def test_modes_never_mix(database: AnyDatabase, tmp_path: Path) -> None:
    signals = [a_signal(number) for number in range(3)]
    rows = [
        settled(a_trade(signal, mode=mode), profit=f"{number}.50")
        for number, (signal, mode) in enumerate(zip(signals, Mode, strict=True))
    ]
    keep(database, tmp_path, [*signals, *rows])
    with open_own(database.target) as session:
        for number, mode in enumerate(Mode):
            assert numbers(remembered(session, mode=mode, since_us=NEVER_US)) == [number]
            assert total_profit(session, mode=mode) == Decimal(f"{number}.50")


def test_the_newest_are_remembered_and_all_whose_result_is_to_come(
    database: AnyDatabase, tmp_path: Path
) -> None:
    signals = [a_signal(number) for number in range(12)]
    trades = [settled(a_trade(signal)) for signal in signals]
    for number, state in enumerate(["intended", "sent", "open", "unknown"]):
        trades[number] = a_trade(signals[number])._replace(state=state)
    for number, state in enumerate(["refused", "void", "tied", "lost"], start=4):
        trades[number] = trades[number]._replace(state=state)
    keep(database, tmp_path, [*signals, *trades])
    assert numbers(positions(database, newest=2, older=0)) == [0, 1, 2, 3, 10, 11]


def test_a_trade_that_was_opened_elsewhere_has_no_signal(database: AnyDatabase, tmp_path: Path) -> None:
    signals = [a_signal(number) for number in range(3)]
    elsewhere = [a_trade(signal)._replace(state="foreign") for signal in signals]
    elsewhere[1] = settled(elsewhere[1], state="foreign")
    keep(database, tmp_path, elsewhere)
    found = positions(database, newest=1)
    assert [(each.strategy, each.expiry_s, each.ts_us) for each in found] == [
        ("", 0, trade.intended_us) for trade in (elsewhere[0], elsewhere[2])
    ]


def test_of_before_the_newest_each_strategy_on_each_market_has_its_last_ones(
    database: AnyDatabase, tmp_path: Path
) -> None:
    ladders = [("rsi", "A@sim"), ("rsi", "B@sim"), ("mine", "A@sim")]
    signals = [
        a_signal(number, strategy=ladders[number % 3][0], market=ladders[number % 3][1])
        for number in range(15)
    ]
    signals += [a_signal(number, strategy="busy") for number in range(15, 20)]
    keep(database, tmp_path, [*signals, *(settled(a_trade(signal)) for signal in signals)])
    assert numbers(positions(database, newest=5, older=2)) == [*range(9, 15), *range(15, 20)]


def test_all_that_a_day_counts_are_remembered_however_many(database: AnyDatabase, tmp_path: Path) -> None:
    signals = [a_signal(number) for number in range(9)]
    trades = [settled(a_trade(signal)) for signal in signals]
    keep(database, tmp_path, [*signals, *trades])
    assert numbers(positions(database, newest=2, older=0, since_us=trades[4].intended_us)) == [*range(4, 9)]


@pytest.mark.parametrize("newest", [1, 2, 3, 4])
def test_trades_of_one_moment_are_not_lost_between_the_newest_and_the_older(
    database: AnyDatabase, tmp_path: Path, newest: int
) -> None:
    signals = [a_signal(7, strategy=f"s{number}") for number in range(4)]
    keep(database, tmp_path, [*signals, *(settled(a_trade(signal)) for signal in signals)])
    assert len(positions(database, newest=newest, older=1)) == 4


def test_an_empty_ledger_has_brought_nothing(database: AnyDatabase, tmp_path: Path) -> None:
    keep(database, tmp_path, [a_signal(1), a_trade(a_signal(1))])
    with open_own(database.target) as session:
        assert remembered(session, mode=Mode.DEMO, since_us=NEVER_US) == []
        assert str(total_profit(session, mode=Mode.PAPER)) == "0.00"


def test_profits_are_added_exactly(database: AnyDatabase, tmp_path: Path) -> None:
    """Ten times 0.1 is no 1 among floats; a hundredth of a millionth beside millions is lost to them."""
    amounts = ["0.1"] * 10 + ["123456789012.00000001", "-123456789012", "-0.3", "8.33", "8.33"]
    signals = [a_signal(number) for number in range(len(amounts))]
    rows = [settled(a_trade(signal), profit=amount) for signal, amount in zip(signals, amounts, strict=True)]
    keep(database, tmp_path, [*signals, *rows, a_trade(a_signal(99)), a_signal(99)])
    with open_own(database.target) as session:
        assert total_profit(session, mode=Mode.PAPER) == Decimal("17.36000001")
    assert sum(float(amount) for amount in amounts) != 17.36000001


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_an_amount_is_never_changed(amount: Decimal) -> None:
    for text in (str(amount), f"{amount:f}", amount):
        assert ledger.as_money(text) == amount


def test_steps_do_not_matter_to_what_is_remembered(database: AnyDatabase, tmp_path: Path) -> None:
    trade: Trade = a_trade(a_signal(1))
    keep(database, tmp_path, [a_signal(1), trade, a_step(trade, 1), a_step(trade, 2)])
    assert [each.trade for each in positions(database)] == [trade]


def test_reading_a_new_database_finds_nothing(database: AnyDatabase) -> None:
    with open_own(database.target) as session:
        bring_up_to_date(session, patient_session=lambda: open_own(database.target))
        assert remembered(session, mode=Mode.PAPER, since_us=NEVER_US) == []
