"""Why a run ended, judged from what is left of it. Pure."""

import attrs
import pytest

from supervisor.last_run import Evidence, judge
from supervisor.run_record import End, Ended, RunRecord, ServiceResult, SignsOfLife

MIB = 2**20
RECORD = RunRecord(
    pid=4711,
    boot_id="a",
    invocation_id="i",
    started_us=1_000_000,
    marketd="0.1",
    bad_ends=0,
    pause_s=0.0,
    memory_limit_bytes=256 * MIB,
    oom_kills=0,
)
SILENT = Evidence(
    record=RECORD, boot_id="a", oom_kills=0, signs=SignsOfLife(at_us=5_000_000, rss_bytes=40 * MIB)
)

# As faulthandler writes it (Python 3.11) on a SIGABRT that finds the main thread in a busy loop.
STACK = """Fatal Python error: Aborted

Thread 0x00007fe3b58336c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007fe3b6d5e740 (most recent call first):
  File "/opt/marketd/actors/market.py", line 99 in handle
  File "/opt/marketd/actors/market.py", line 60 in run
"""


def by_service(result: str, code: str, status: str) -> Evidence:
    service = ServiceResult(result=result, code=code, status=status, at_us=7_000_000)
    return attrs.evolve(SILENT, service=service)


def ended(how: End, *, exit_code: int) -> Evidence:
    words = Ended(how=how, exit_code=exit_code, words="stopped on SIGTERM", at_us=6_000_000)
    return attrs.evolve(by_service("success", "exited", "0"), record=attrs.evolve(RECORD, ended=words))


def test_its_own_word_counts_first() -> None:
    found = judge(ended(End.CLEAN, exit_code=0))
    assert (found.end, found.detail, found.ended_us) == (End.CLEAN, "stopped on SIGTERM", 6_000_000)
    assert not found.is_bad


def test_a_crash_that_was_written_down_is_bad() -> None:
    assert judge(ended(End.CRASH, exit_code=1)).is_bad


@pytest.mark.parametrize(("how", "exit_code"), [(End.CRASH, 78), (End.KILLED, 1), (End.CLEAN, 0)])
def test_what_somebody_wanted_or_has_to_mend_is_not_bad(how: End, exit_code: int) -> None:
    assert not judge(ended(how, exit_code=exit_code)).is_bad


BY_SERVICE = [
    (("watchdog", "dumped", "ABRT"), End.WATCHDOG),
    (("watchdog", "killed", "ABRT"), End.WATCHDOG),
    (("oom-kill", "killed", "KILL"), End.OOM),
    (("signal", "killed", "KILL"), End.KILLED),
    (("timeout", "killed", "KILL"), End.KILLED),
    (("signal", "killed", "TERM"), End.KILLED),
    (("signal", "killed", "SEGV"), End.CRASH),
    (("core-dump", "dumped", "ABRT"), End.CRASH),
    (("exit-code", "exited", "1"), End.CRASH),
    (("resources", "", ""), End.UNKNOWN),
]


@pytest.mark.parametrize(("said", "end"), BY_SERVICE)
def test_the_service_manager_is_believed_where_the_run_is_silent(
    said: tuple[str, str, str], end: End
) -> None:
    found = judge(by_service(*said))
    assert found.end is end
    assert found.is_bad
    assert found.ended_us == 7_000_000


def test_a_machine_that_booted_since_lost_its_power() -> None:
    found = judge(attrs.evolve(SILENT, boot_id="b"))
    assert found.end is End.POWER_LOSS
    assert found.ended_us == 5_000_000


def test_a_kill_that_the_service_manager_saw_before_a_boot_is_no_power_loss() -> None:
    assert judge(attrs.evolve(by_service("signal", "killed", "KILL"), boot_id="b")).end is End.KILLED


def test_without_a_boot_id_a_silent_end_may_be_either() -> None:
    assert judge(attrs.evolve(SILENT, boot_id="")).end is End.UNKNOWN


def test_without_a_service_manager_silence_is_a_kill() -> None:
    assert judge(SILENT).end is End.KILLED


def test_a_stack_tells_a_crash_and_where() -> None:
    found = judge(attrs.evolve(SILENT, stack=STACK))
    assert found.end is End.CRASH
    assert found.detail == "Fatal Python error: Aborted, in handle (market.py:99)"


def test_the_watchdog_tells_where_it_hung() -> None:
    found = judge(attrs.evolve(by_service("watchdog", "dumped", "ABRT"), stack=STACK))
    assert found.detail.endswith("in handle (market.py:99)")
    assert found.stack == STACK


@pytest.mark.parametrize("found", [SILENT, by_service("signal", "killed", "KILL")])
def test_a_kill_in_a_group_where_the_oom_killer_was_at_work_was_his(found: Evidence) -> None:
    assert judge(attrs.evolve(found, oom_kills=1)).end is End.OOM
    assert judge(attrs.evolve(found, oom_kills=None)).end is End.KILLED


@pytest.mark.parametrize("found", [SILENT, by_service("signal", "killed", "KILL")])
def test_a_kill_near_the_limit_was_probably_the_oom_killer(found: Evidence) -> None:
    near = judge(attrs.evolve(found, signs=SignsOfLife(at_us=5_000_000, rss_bytes=230 * MIB)))
    assert near.end is End.OOM
    assert "probably" in near.detail
    assert judge(attrs.evolve(found, signs=SignsOfLife(at_us=5_000_000, rss_bytes=128 * MIB))).end is (
        End.KILLED
    )


def test_an_end_of_which_nothing_is_known_has_no_time() -> None:
    assert judge(attrs.evolve(SILENT, signs=SignsOfLife())).ended_us is None
