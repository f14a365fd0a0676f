import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import crash_points
from domain.states import Desired
from strategies.limits import Limits
from supervisor import desired
from supervisor.desired import DesiredState, KillSwitch, LimitsOfDay, decode_restored, merge_restored

STATE = DesiredState(
    stopped=["EURUSD@sim"],
    started=["GBPUSD@sim"],
    drain=True,
    kill_switch=KillSwitch(who="uid 0", when_us=1_795_000_000_000_000, reason="…"),
)


class PowerCut(BaseException):
    """The machine went off just then."""


def aside(state_dir: Path) -> list[Path]:
    return list(state_dir.glob("control.json.unreadable-*"))


# --- the file ---------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    desired.write(tmp_path, STATE)
    assert desired.read(tmp_path) == STATE


def test_a_missing_file_is_told_from_an_empty_wish(tmp_path: Path) -> None:
    assert desired.read(tmp_path) is None


BAD = {
    "empty": b"",
    "half a file": b'{"version": 1, "stopp',
    "not an object": b"[]",
    "null": b"null",
    "not UTF-8": b'{"stopped": ["\xff"]}',
    "a wrong type": b'{"version": 1, "drain": "yes"}',
    "nested without end": b'{"x":' * 100_000,
    "an unknown key": b'{"version": 1, "budget": 3}',
    "a newer version": b'{"version": 2, "stopped": []}',
    "a kill switch without a reason": b'{"version": 1, "kill_switch": {"who": "uid 0"}}',
}
each_bad_file = pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())


@each_bad_file
def test_a_bad_file_switches_all_trading_off(tmp_path: Path, content: bytes) -> None:
    (tmp_path / desired.FILE_NAME).write_bytes(content)
    found = desired.read(tmp_path)
    assert found is not None
    assert found.drain
    assert found.kill_switch is not None


@each_bad_file
def test_a_bad_file_is_set_aside_and_not_lost(tmp_path: Path, content: bytes) -> None:
    (tmp_path / desired.FILE_NAME).write_bytes(content)
    desired.read(tmp_path)
    assert not (tmp_path / desired.FILE_NAME).exists()
    assert [path.read_bytes() for path in aside(tmp_path)] == [content]


def test_the_reason_names_the_file_and_where_it_went(tmp_path: Path) -> None:
    (tmp_path / desired.FILE_NAME).write_bytes(b"")
    found = desired.read(tmp_path)
    assert found is not None
    assert found.kill_switch is not None
    [path] = aside(tmp_path)
    assert str(tmp_path / desired.FILE_NAME) in found.kill_switch.reason
    assert str(path) in found.kill_switch.reason


def test_a_folder_in_its_place_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / desired.FILE_NAME).mkdir()
    found = desired.read(tmp_path)
    assert found is not None
    assert found.drain
    assert len(aside(tmp_path)) == 1


STEPS = ("os.fsync", "pathlib.Path.rename", "os.open")


@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    desired.write(tmp_path, STATE)
    new = DesiredState(stopped=["USDJPY@sim"])

    def cut(*_: Any, **__: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(step, cut)
        with pytest.raises(PowerCut):
            desired.write(tmp_path, new)
    assert desired.read(tmp_path) in (STATE, new)


def test_a_kill_before_the_new_has_its_name_leaves_the_old(tmp_path: Path) -> None:
    desired.write(tmp_path, STATE)
    script = (
        "from pathlib import Path\n"
        "from supervisor import desired\n"
        f"desired.write(Path({str(tmp_path)!r}), desired.DesiredState())"
    )
    environment = os.environ | {crash_points.VARIABLE: "control.written:1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert desired.read(tmp_path) == STATE


def test_the_content_is_on_disk_before_it_takes_the_place_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        steps.append("sync")
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    desired.write(tmp_path, STATE)
    assert steps == ["sync", "rename", "sync"]  # the file, then its name in the directory


def test_the_rest_of_a_write_that_was_cut_hinders_no_later_one(tmp_path: Path) -> None:
    (tmp_path / "control.new").write_bytes(b"half of")
    desired.write(tmp_path, STATE)
    assert desired.read(tmp_path) == STATE


# --- what is wanted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "autostart", "wanted"),
    [
        (DesiredState(), True, Desired.RUNNING),
        (DesiredState(), False, Desired.STOPPED),
        (DesiredState(started=["A@sim"]), False, Desired.RUNNING),
        (DesiredState(stopped=["A@sim"]), True, Desired.STOPPED),
        (DesiredState(stopped=["A@sim"], started=["A@sim"]), True, Desired.STOPPED),
        (DesiredState(stopped=["B@sim"]), True, Desired.RUNNING),
    ],
)
def test_a_command_goes_before_the_settings(state: DesiredState, *, autostart: bool, wanted: Desired) -> None:
    assert state.of_market("A@sim", autostart=autostart) is wanted


names = st.sampled_from(["A@sim", "B@sim", "C@sim"])


@given(st.lists(st.tuples(st.lists(names, unique=True), st.sampled_from(Desired))))
def test_the_last_word_on_a_market_holds(wishes: list[tuple[list[str], Desired]]) -> None:
    state = DesiredState()
    last: dict[str, Desired] = {}
    for markets, wanted in wishes:
        state.want(markets, wanted)
        last.update(dict.fromkeys(markets, wanted))
    for market, wanted in last.items():
        assert state.of_market(market, autostart=wanted is Desired.STOPPED) is wanted
    assert sorted(state.stopped + state.started) == sorted(last)


# --- restored -----------------------------------------------------------------------------------------

OTHER_SWITCH = KillSwitch(who="uid 7", when_us=1, reason="another")


@pytest.mark.parametrize(
    "current", [None, DesiredState(), DesiredState(started=["A@sim"], stopped=["B@sim"])]
)
def test_what_is_restored_starts_in_drain_with_its_own_markets(current: DesiredState | None) -> None:
    restored = DesiredState(stopped=["A@sim"], started=["B@sim"])
    merged = merge_restored(current=current, restored=restored)
    assert merged == DesiredState(stopped=["A@sim"], started=["B@sim"], drain=True)


@pytest.mark.parametrize(
    ("current", "restored", "wanted"),
    [
        (None, None, None),
        (STATE.kill_switch, None, STATE.kill_switch),
        (None, OTHER_SWITCH, OTHER_SWITCH),
        (STATE.kill_switch, OTHER_SWITCH, STATE.kill_switch),
    ],
)
def test_a_kill_switch_of_either_stays_on(
    current: KillSwitch | None, restored: KillSwitch | None, wanted: KillSwitch | None
) -> None:
    merged = merge_restored(
        current=DesiredState(kill_switch=current), restored=DesiredState(kill_switch=restored)
    )
    assert merged.kill_switch == wanted


def test_merging_changes_neither_of_the_two() -> None:
    restored = DesiredState(stopped=["A@sim"])
    merge_restored(current=STATE, restored=restored).want(["A@sim"], Desired.RUNNING)
    assert restored == DesiredState(stopped=["A@sim"])


def test_unknown_keys_of_a_backup_are_dropped_and_named() -> None:
    found = decode_restored(b'{"version": 1, "stopped": ["A@sim"], "real": {"until_us": 9}, "armed": true}')
    assert found.state == DesiredState(stopped=["A@sim"])
    assert found.dropped == ("armed", "real")


def test_what_this_version_wrote_is_restored_whole(tmp_path: Path) -> None:
    desired.write(tmp_path, STATE)
    found = decode_restored((tmp_path / desired.FILE_NAME).read_bytes())
    assert (found.state, found.dropped) == (STATE, ())


UNREADABLE = [content for name, content in BAD.items() if name != "an unknown key"]


@pytest.mark.parametrize("content", [None, *UNREADABLE])
def test_a_backup_that_does_not_say_what_was_wanted_switches_all_trading_off(content: bytes | None) -> None:
    found = decode_restored(content)
    assert found.state.drain
    assert found.state.kill_switch is not None


# --- the limits in force ------------------------------------------------------------------------------


def limits_of(day: str, **values: object) -> LimitsOfDay:
    return LimitsOfDay(day=day, limits={**Limits().as_table(), **values})


def test_limits_are_read_again(tmp_path: Path) -> None:
    state = DesiredState(limits=limits_of("2026-11-27", max_stake="7"))
    desired.write(tmp_path, state)
    assert desired.read(tmp_path) == state


def test_a_file_from_before_there_were_limits_is_read(tmp_path: Path) -> None:
    (tmp_path / desired.FILE_NAME).write_bytes(b'{"version": 1, "stopped": ["A@sim"]}')
    assert desired.read(tmp_path) == DesiredState(stopped=["A@sim"])


@pytest.mark.parametrize(
    ("present", "restored", "kept"),
    [
        (None, None, None),
        (limits_of("2026-11-27", max_stake="7"), None, limits_of("2026-11-27", max_stake="7")),
        (None, limits_of("2026-11-27", max_stake="7"), limits_of("2026-11-27", max_stake="7")),
        (
            limits_of("2026-11-27", max_stake="7", max_open_trades=9),
            limits_of("2026-11-27", max_stake="8", max_open_trades=2),
            limits_of("2026-11-27", max_stake="7", max_open_trades=2),
        ),
        (
            limits_of("2026-11-27", max_stake="7"),
            limits_of("2026-11-20", max_stake="1"),
            limits_of("2026-11-27", max_stake="7"),
        ),
        (
            limits_of("2026-11-27", max_stake="7"),
            LimitsOfDay(day="2026-11-27", limits={"of": "another version"}),
            limits_of("2026-11-27", max_stake="7"),
        ),
    ],
)
def test_of_limits_of_one_day_the_stricter_are_restored(
    present: LimitsOfDay | None, restored: LimitsOfDay | None, kept: LimitsOfDay | None
) -> None:
    merged = merge_restored(current=DesiredState(limits=present), restored=DesiredState(limits=restored))
    assert merged.limits == kept
