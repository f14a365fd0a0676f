import socket
from pathlib import Path

import attrs
import pytest
from databases import MariadbDatabase, SqliteDatabase, open_store

from storage.disk import DataDisk, Disk, DiskBudget, Fullness, Verdict
from storage.target import Target

HOUR_S = 3_600.0


def disk(percent: float) -> Disk:
    return Disk(free_bytes=int(percent * 1_000), total_bytes=100_000)


class NamesAnotherFolder:
    """A session of a server that keeps its data elsewhere."""

    def __init__(self, *, folder: str, machine: str) -> None:
        self._row = (folder, machine)

    def query(self, _: str) -> list[tuple[str, str]]:
        return [self._row]


def looked(target: Target) -> Disk | None:
    with open_store(target) as store:
        return store.pool.run(DataDisk(target).look)


# --- looking ----------------------------------------------------------------------------------


def test_the_file_system_of_an_embedded_file_is_looked_at(sqlite: SqliteDatabase) -> None:
    found = looked(sqlite.target)
    assert found is not None
    assert 0 < found.free_bytes < found.total_bytes


def test_the_file_system_of_a_server_on_this_machine_is_looked_at(mariadb: MariadbDatabase) -> None:
    found = looked(mariadb.target)
    assert found is not None
    assert 0 < found.free_bytes < found.total_bytes


def test_the_folder_of_a_server_is_asked_for_once(mariadb: MariadbDatabase) -> None:
    data_disk = DataDisk(mariadb.target)
    with open_store(mariadb.target) as store:
        store.pool.run(data_disk.look)
        before = store.driver.counts.statements
        store.pool.run(data_disk.look)
        assert store.driver.counts.statements == before
        data_disk.forget()
        store.pool.run(data_disk.look)
        assert store.driver.counts.statements == before + 1


def test_a_server_elsewhere_is_unknown(mariadb: MariadbDatabase) -> None:
    elsewhere = attrs.evolve(mariadb.target, host="db.example.org")
    with open_store(mariadb.target) as store:
        assert store.pool.run(DataDisk(elsewhere).look) is None


def test_a_container_behind_a_port_of_this_machine_is_unknown(
    mariadb: MariadbDatabase, tmp_path: Path
) -> None:
    session = NamesAnotherFolder(folder=str(tmp_path), machine="a-container")
    assert DataDisk(mariadb.target).look(session) is None


def test_a_folder_that_cannot_be_looked_at_is_unknown(mariadb: MariadbDatabase, tmp_path: Path) -> None:
    session = NamesAnotherFolder(folder=str(tmp_path / "gone"), machine=socket.gethostname())
    assert DataDisk(mariadb.target).look(session) is None


def test_a_folder_that_others_may_not_enter_is_unknown(
    mariadb: MariadbDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.disk_usage", refuse)  # root may enter every folder
    session = NamesAnotherFolder(folder=str(tmp_path), machine=socket.gethostname())
    assert DataDisk(mariadb.target).look(session) is None


# --- full -------------------------------------------------------------------------------------


def test_a_disk_is_full_below_two_percent_until_above_three() -> None:
    fullness = Fullness()
    seen = []
    for percent in (50, 2.5, 2.0, 1.9, 2.5, 3.0, 3.1, 2.5, 1.9):
        fullness.look(disk(percent))
        seen.append(fullness.is_full)
    assert seen == [False, False, False, True, True, True, False, False, True]


def test_a_disk_that_is_unknown_is_not_full() -> None:
    fullness = Fullness()
    fullness.look(disk(1))
    fullness.look(None)
    assert not fullness.is_full


# --- one more day -----------------------------------------------------------------------------


def budget(percent: float = 9) -> DiskBudget:
    """One that has seen this disk for long enough after the start."""
    made = DiskBudget()
    made.look(disk(percent), monotonic_s=-HOUR_S)
    return made


def test_with_room_nothing_goes() -> None:
    assert budget().look(disk(10), monotonic_s=0) is Verdict.NOTHING


def test_below_ten_percent_a_day_goes() -> None:
    assert budget().look(disk(9.9), monotonic_s=0) is Verdict.DROP_DAY


def test_what_is_unknown_takes_no_day() -> None:
    assert budget().look(None, monotonic_s=0) is Verdict.NOTHING


def test_a_start_takes_no_day_at_once() -> None:
    started = DiskBudget()
    assert started.look(disk(5), monotonic_s=0) is Verdict.NOTHING
    assert started.look(disk(5), monotonic_s=599) is Verdict.NOTHING
    assert started.look(disk(5), monotonic_s=600) is Verdict.DROP_DAY


def test_a_second_day_goes_an_hour_later_where_the_first_one_helped() -> None:
    under = budget()
    under.drops(disk(8), monotonic_s=0)
    assert under.look(disk(8.5), monotonic_s=10) is Verdict.NOTHING
    assert under.look(disk(8.1), monotonic_s=HOUR_S - 1) is Verdict.NOTHING
    assert under.look(disk(8.1), monotonic_s=HOUR_S) is Verdict.DROP_DAY


@pytest.mark.parametrize("after", [8, 7.9])
def test_it_gives_up_once_where_a_day_did_not_help(after: float) -> None:
    under = budget()
    under.drops(disk(8), monotonic_s=0)
    assert under.look(disk(after), monotonic_s=10) is Verdict.GIVE_UP
    assert under.look(disk(after), monotonic_s=20) is Verdict.NOTHING
    assert under.look(disk(after), monotonic_s=9 * HOUR_S) is Verdict.NOTHING


def test_room_in_between_makes_it_try_again() -> None:
    under = budget()
    under.give_up()
    assert under.look(disk(11), monotonic_s=0) is Verdict.NOTHING
    assert under.look(disk(9), monotonic_s=1) is Verdict.DROP_DAY


def test_a_drop_that_was_interrupted_is_not_judged() -> None:
    under = budget()
    under.drops(disk(8), monotonic_s=0)
    under.forget_drop()
    assert under.look(disk(8), monotonic_s=10) is Verdict.NOTHING
    assert under.look(disk(8), monotonic_s=HOUR_S) is Verdict.DROP_DAY


def test_a_disk_of_no_size_is_not_low() -> None:
    assert not Disk(free_bytes=0, total_bytes=0).is_low
