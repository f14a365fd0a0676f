import pytest

from domain.errors import RowRefused, StorageBusy, StorageRefused
from storage.faults import REASON_LENGTH, mysql_fault, sqlite_fault


@pytest.mark.parametrize("number", [1040, 1053, 1205, 1213, 1290, 2002, 2003, 2006, 2013])
def test_what_passes_by_itself_is_tried_again_soon(number: int) -> None:
    assert type(mysql_fault(number=number, text="x")) is StorageBusy


@pytest.mark.parametrize("number", [1044, 1045, 1049, 1054, 1064, 1146])
def test_what_somebody_must_mend_is_tried_again_slowly(number: int) -> None:
    assert type(mysql_fault(number=number, text="x")) is StorageRefused


@pytest.mark.parametrize("number", [1264, 1366, 1406])
def test_a_row_that_a_server_refuses_for_its_data_is_told_apart(number: int) -> None:
    assert type(mysql_fault(number=number, text="x")) is RowRefused


@pytest.mark.parametrize("code", [18, 19, 20, 1555])
def test_a_row_that_a_file_refuses_for_its_data_is_told_apart(code: int) -> None:
    assert type(sqlite_fault(code=code, text="x")) is RowRefused


@pytest.mark.parametrize("number", [9999, None])
def test_an_unknown_number_is_taken_for_passing(number: int | None) -> None:
    assert type(mysql_fault(number=number, text="x")) is StorageBusy
    assert type(sqlite_fault(code=None, text="x")) is StorageBusy


@pytest.mark.parametrize("code", [5, 6, 9, 10, 13, 261, 517, 266])
def test_a_locked_interrupted_or_full_file_is_tried_again_soon(code: int) -> None:
    assert type(sqlite_fault(code=code, text="x")) is StorageBusy


@pytest.mark.parametrize("code", [1, 8, 11, 14, 26, 264])
def test_a_broken_or_read_only_file_is_tried_again_slowly(code: int) -> None:
    assert type(sqlite_fault(code=code, text="x")) is StorageRefused


def test_the_reason_has_the_number_first_and_is_one_line() -> None:
    assert str(mysql_fault(number=2003, text="can't\nconnect")) == "2003 can't connect"
    assert str(sqlite_fault(code=517, text="locked")) == "5 locked"


def test_a_reason_does_not_quote_a_whole_statement() -> None:
    assert len(str(mysql_fault(number=1064, text="y" * 10_000))) <= REASON_LENGTH + 5
