import logging

import pytest
from open_hours import always_open
from trio.testing import MockClock

from domain.events import LOGGER, Event
from domain.states import ConnectionRow, Desired, MarketRow, State
from supervisor.board import Board, reason_of


class Heard(logging.Handler):
    """Keeps what was said: who is in which state."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert getattr(record, "event", None) is Event.STATE
        self.records.append(record)

    @property
    def states(self) -> list[tuple[str, State]]:
        return [(vars(record)["actor"], vars(record)["fields"]["state"]) for record in self.records]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    handler = Heard()
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    monkeypatch.setattr(LOGGER, "propagate", False)
    monkeypatch.setattr(LOGGER, "filters", [])
    LOGGER.setLevel(logging.DEBUG)  # restored for everybody, see tests/conftest.py
    return handler


def make_connection() -> ConnectionRow:
    return ConnectionRow(name="sim/1", venue="sim", is_open=True)


def make_market(connection: ConnectionRow, symbol: str = "EURUSD") -> MarketRow:
    """Return a market that is subscribed, and live with its first tick."""
    return MarketRow(
        name=f"{symbol}@sim",
        symbol=symbol,
        venue="sim",
        stale_after_s=60.0,
        connection=connection,
        hours=always_open(),
        subscribed_at=0.0,
    )


async def test_a_change_is_said_once(autojump_clock: MockClock, heard: Heard) -> None:
    board, row = Board(), make_market(make_connection())
    row.subscribed_at = None
    board.add_market(row)
    row.hold = State.BACKING_OFF
    board.market_changed(row)
    board.market_changed(row)
    assert heard.states == [("market/EURUSD@sim", State.BACKING_OFF)]


async def test_a_row_that_comes_on_the_board_says_nothing(autojump_clock: MockClock, heard: Heard) -> None:
    board, connection = Board(), make_connection()
    board.add_connection(connection)
    board.add_market(make_market(connection))
    assert heard.states == []


async def test_a_connection_that_failed_says_so_louder_than_its_markets(
    autojump_clock: MockClock, heard: Heard
) -> None:
    board, connection = Board(), make_connection()
    board.add_connection(connection)
    board.add_market(make_market(connection))
    connection.is_open, connection.hold, connection.reason = False, State.FAILED, "the token expired"
    board.connection_changed(connection)
    said = [(record.levelno, record.getMessage()) for record in heard.records]
    assert said == [
        (logging.ERROR, "sim/1 failed: the token expired"),
        (logging.DEBUG, "EURUSD@sim failed: the token expired"),
    ]


async def test_a_connection_that_is_lost_is_said_of_its_markets_too(
    autojump_clock: MockClock, heard: Heard
) -> None:
    board, connection, other = Board(), make_connection(), make_connection()
    board.add_connection(connection)
    for row in (make_market(connection), make_market(connection, "GBPUSD"), make_market(other, "USDJPY")):
        row.subscribed_at = row.last_tick_at = 1e12  # fresh, whatever the time
        board.add_market(row)
    connection.is_open = False
    connection.hold = State.BACKING_OFF
    board.connection_changed(connection)
    assert heard.states == [
        ("connection/sim/1", State.BACKING_OFF),
        ("market/EURUSD@sim", State.WAITING),
        ("market/GBPUSD@sim", State.WAITING),
    ]


async def test_while_everybody_is_stopped_no_state_is_news(autojump_clock: MockClock, heard: Heard) -> None:
    board, connection = Board(), make_connection()
    board.add_connection(connection)
    board.end()
    connection.is_open = False
    board.connection_changed(connection)
    assert heard.states == []


async def test_a_replaced_row_of_the_same_name_is_ignored(autojump_clock: MockClock, heard: Heard) -> None:
    board, connection = Board(), make_connection()
    old, new = make_market(connection), make_market(connection)
    board.add_market(old)
    board.remove(old.name)
    board.add_market(new)
    old.hold = State.FAILED
    board.market_changed(old)
    assert heard.states == []


async def test_a_row_that_was_taken_off_is_ignored(autojump_clock: MockClock, heard: Heard) -> None:
    board, connection = Board(), make_connection()
    row = make_market(connection)
    board.add_connection(connection)
    board.add_market(row)
    board.remove(connection.name)
    board.remove(row.name)
    row.hold = connection.hold = State.FAILED
    board.market_changed(row)
    board.connection_changed(connection)
    assert heard.states == []


async def test_what_needs_the_operator_is_said_louder(autojump_clock: MockClock, heard: Heard) -> None:
    board, row = Board(), make_market(make_connection())
    board.add_market(row)
    for hold in (State.BACKING_OFF, State.QUARANTINED):
        row.hold = hold
        board.market_changed(row)
    assert [record.levelno for record in heard.records] == [logging.WARNING, logging.ERROR]


async def test_live_and_wanted_markets_are_counted(autojump_clock: MockClock, heard: Heard) -> None:
    board, connection = Board(), make_connection()
    live, starting, stopped = (make_market(connection, name) for name in ("A", "B", "C"))
    live.subscribed_at = live.last_tick_at = starting.subscribed_at = 1e12
    stopped.desired = Desired.STOPPED
    for row in (live, starting, stopped):
        board.add_market(row)
    assert (board.live_markets(), board.wanted_markets()) == (1, 2)


async def test_the_reason_says_when_it_is_tried_again(autojump_clock: MockClock) -> None:
    row = make_connection()
    row.hold, row.reason, row.next_try_at = State.BACKING_OFF, "refused", 1e12
    assert reason_of(row).startswith("refused; ")


async def test_without_a_hold_there_is_no_reason(autojump_clock: MockClock) -> None:
    row = make_connection()
    row.reason = "of the past"
    assert reason_of(row) == ""
