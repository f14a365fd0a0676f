"""A run's own record: what is written, what is read again, and what may go wrong with the files."""

import os
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from supervisor import life, run_record
from supervisor.life import Life, boot_id
from supervisor.policy import SupervisionSettings
from supervisor.run_record import End, RunRecord

SETTINGS = SupervisionSettings()


def begin(folder: Path) -> Life:
    lived = Life(state_dir=folder)
    lived.begin(SETTINGS)
    return lived


def record_of(folder: Path) -> RunRecord:
    found = run_record.read(folder)
    assert found is not None
    return found


def test_the_first_run_says_that_there_was_none_before(tmp_path: Path) -> None:
    assert begin(tmp_path).last.end is End.FIRST
    assert record_of(tmp_path).pid == os.getpid()


def test_data_without_a_record_is_no_first_run(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    first = begin(tmp_path)
    assert first.last.end is End.UNKNOWN
    assert first.pause_s == 0.0  # as after an update from a version that left no record


def test_an_end_is_told_to_the_next_run(tmp_path: Path) -> None:
    first = begin(tmp_path)
    first.end(how=End.CLEAN, exit_code=0, words="stopped on SIGTERM")
    first.end(how=End.CRASH, exit_code=1, words="too late")
    last = begin(tmp_path).last
    assert (last.end, last.detail) == (End.CLEAN, "stopped on SIGTERM")
    assert last.started_us is not None
    assert last.ended_us is not None
    assert last.started_us <= last.ended_us


def test_words_that_no_text_can_hold_are_told_to_the_next_run(tmp_path: Path) -> None:
    """Such as the name of a file that is in no encoding."""
    begin(tmp_path).end(how=End.CRASH, exit_code=1, words=os.fsdecode(b"no such file: \xff"))
    last = begin(tmp_path).last
    assert (last.end, last.detail) == (End.CRASH, "no such file: \\udcff")


def test_an_exception_that_passes_by_is_told_to_the_next_run(tmp_path: Path) -> None:
    first = begin(tmp_path)
    with pytest.raises(ExceptionGroup), first.lived():
        raise ExceptionGroup("in a nursery", [ZeroDivisionError("injected by a test")])
    last = begin(tmp_path).last
    assert (last.end, last.detail) == (End.CRASH, "ZeroDivisionError: injected by a test")


def test_bad_ends_in_a_row_are_counted_over_runs(tmp_path: Path) -> None:
    lives = [begin(tmp_path) for _ in range(8)]
    assert [each.bad_ends for each in lives] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [each.pause_s for each in lives[5:]] == [0.0, 1.0, 2.0]
    lives[-1].end(how=End.CLEAN, exit_code=0, words="stopped on SIGTERM")
    assert begin(tmp_path).pause_s == 0.0


BROKEN = [b"", b"{", b"[]", b'{"version": 1}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("content", BROKEN, ids=[repr(each[:12]) for each in BROKEN])
def test_an_unreadable_record_is_set_aside_and_counts_as_one_too_many(tmp_path: Path, content: bytes) -> None:
    (tmp_path / run_record.FILE_NAME).write_bytes(content)
    after = begin(tmp_path)
    assert after.last.end is End.UNKNOWN
    assert after.pause_s == SETTINGS.backoff_min_s
    [aside] = tmp_path.glob("run.json.unreadable-*")
    assert aside.read_bytes() == content
    assert record_of(tmp_path).bad_ends == SETTINGS.max_restarts + 1


def test_a_record_of_another_version_is_set_aside(tmp_path: Path) -> None:
    first = begin(tmp_path)
    run_record.write(tmp_path, attrs.evolve(record_of(tmp_path), version=2))
    assert begin(tmp_path).last.end is End.UNKNOWN
    assert first.last.end is End.FIRST


def test_what_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "run.json.new").mkdir()  # in its way, for root as well
    first = begin(tmp_path)
    first.end(how=End.CLEAN, exit_code=0, words="stopped on SIGTERM")
    assert run_record.read(tmp_path) is None


def test_the_end_of_a_run_is_not_taken_for_that_of_one_that_could_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal.db").touch()
    begin(tmp_path).end(how=End.CLEAN, exit_code=0, words="stopped on SIGTERM")
    (tmp_path / "run.json.new").mkdir()
    assert begin(tmp_path).last.end is End.CLEAN
    (tmp_path / "run.json.new").rmdir()
    assert begin(tmp_path).last.end is End.UNKNOWN


# --- beside it --------------------------------------------------------------------------------

RESULT = "SERVICE_RESULT=watchdog\nEXIT_CODE=dumped\nEXIT_STATUS=ABRT\nINVOCATION_ID=abc\n"


def test_the_service_managers_word_counts_for_the_run_it_speaks_of(tmp_path: Path) -> None:
    (tmp_path / run_record.SERVICE_RESULT_NAME).write_text(RESULT)
    found = run_record.read_service_result(tmp_path, invocation_id="abc")
    assert found is not None
    assert (found.result, found.code, found.status) == ("watchdog", "dumped", "ABRT")
    assert run_record.read_service_result(tmp_path, invocation_id="abd") is None


@pytest.mark.parametrize("content", ["", "INVOCATION_ID=\n", RESULT.replace("INVOCATION_ID=abc", "")])
def test_a_word_that_names_no_run_counts_for_none(tmp_path: Path, content: str) -> None:
    (tmp_path / run_record.SERVICE_RESULT_NAME).write_text(content)
    assert run_record.read_service_result(tmp_path, invocation_id="") is None
    assert run_record.read_service_result(tmp_path, invocation_id="abc") is None


def test_a_sign_of_life_says_when_and_with_how_much_memory(tmp_path: Path) -> None:
    started_us = record_started_us(tmp_path)
    os.utime(tmp_path / run_record.ALIVE_NAME, ns=(0, (started_us + 30_000_000) * 1_000))
    with (tmp_path / run_record.ALIVE_NAME).open("rb+") as file:
        run_record.write_sign_of_life(file.fileno(), rss_bytes=12_345)
        run_record.write_sign_of_life(file.fileno(), rss_bytes=7)
    found = run_record.read_signs_of_life(tmp_path, since_us=started_us)
    assert found.rss_bytes == 7
    assert found.at_us is not None
    assert found.at_us >= started_us


def test_a_sign_of_life_of_an_earlier_run_is_none_of_this(tmp_path: Path) -> None:
    started_us = record_started_us(tmp_path)
    os.utime(tmp_path / run_record.ALIVE_NAME, ns=(0, (started_us - 5_000_000) * 1_000))
    found = run_record.read_signs_of_life(tmp_path, since_us=started_us)
    assert (found.at_us, found.rss_bytes) == (None, None)


def test_what_was_accepted_is_a_sign_of_life_too(tmp_path: Path) -> None:
    started_us = record_started_us(tmp_path)
    log = tmp_path / run_record.JOURNAL_LOG_NAME
    log.touch()
    os.utime(log, ns=(0, (started_us - 2_000_000) * 1_000))
    (tmp_path / run_record.ALIVE_NAME).unlink()
    found = run_record.read_signs_of_life(tmp_path, since_us=started_us - 5_000_000)
    assert found.at_us == started_us - 2_000_000


def record_started_us(folder: Path) -> int:
    begin(folder)
    return record_of(folder).started_us


def test_the_boot_is_told_by_the_environment_or_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write the same id, one with dashes; the service's sandbox may hide the kernel's."""
    kernel = tmp_path / "boot_id"
    kernel.write_text("230e400a-00d9-430b-9c1c-fce128e843a4\n")
    monkeypatch.setattr(life, "BOOT_ID", kernel)
    monkeypatch.delenv("MARKETD_BOOT_ID", raising=False)
    by_kernel = boot_id()
    monkeypatch.setenv("MARKETD_BOOT_ID", "230e400a00d9430b9c1cfce128e843a4")
    assert boot_id() == by_kernel == "230e400a00d9430b9c1cfce128e843a4"
    monkeypatch.delenv("MARKETD_BOOT_ID")
    kernel.unlink()
    assert boot_id() == ""


async def test_a_sign_of_life_comes_in_time_and_before_it_where_memory_grows(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    autojump_clock.autojump_threshold = 0.1  # it writes in a thread
    monkeypatch.setattr(life, "LOOK_EVERY_S", 10.0)
    shown: list[tuple[float, int]] = []
    use = [100]
    monkeypatch.setattr(life, "rss_bytes", lambda: use[0])
    monkeypatch.setattr(
        run_record,
        "write_sign_of_life",
        lambda _, rss_bytes: shown.append((autojump_clock.current_time() - began_at, rss_bytes)),
    )
    async with trio.open_nursery() as nursery:
        began_at = trio.current_time()
        lived = begin(tmp_path)  # shows one
        nursery.start_soon(lived.show_life)
        await trio.sleep(35)
        use[0] = 109  # not worth one
        await trio.sleep(10)
        use[0] = 111
        await trio.sleep(40)
        nursery.cancel_scope.cancel()
    assert [(round(at_s), rss) for at_s, rss in shown[1:]] == [(30, 100), (50, 111), (80, 111)]
