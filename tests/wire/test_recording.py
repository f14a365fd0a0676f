import logging
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError
from wire import recording
from wire.recording import Direction, Frame, Recorder, read


def frames_of(path: Path) -> list[tuple[Direction, str]]:
    return [(frame.direction, frame.frame) for frame in read(path)]


def test_what_was_recorded_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    recorder.record_out('{"method":"SUBSCRIBE"}')
    recorder.record_in('{"result":null,\n"id":1} "quoted" €')
    recorder.close()
    assert frames_of(path) == [
        (Direction.OUT, '{"method":"SUBSCRIBE"}'),
        (Direction.IN, '{"result":null,\n"id":1} "quoted" €'),
    ]


@given(text=st.text())
def test_any_text_survives_recording(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("recording") / "frames.jsonl"
    recorder = Recorder(path)
    recorder.record_in(text)
    recorder.close()
    assert frames_of(path) == [(Direction.IN, text)]


def test_a_second_recorder_appends(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    for text in ("first", "second"):
        recorder = Recorder(path)
        recorder.record_in(text)
        recorder.close()
    assert [text for _, text in frames_of(path)] == ["first", "second"]


def test_a_line_cut_short_by_a_kill_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_text('{"at_us":1,"dir":"in","fra')
    recorder = Recorder(path)
    recorder.record_in("whole")
    recorder.close()
    assert path.read_text().splitlines()[1].endswith('"frame":"whole"}')


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.touch(mode=0o644)
    recorder = Recorder(path)
    recorder.record_in("x")
    recorder.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_frames_reach_the_file_once_a_second_while_they_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    recorder.record_in("at once")
    now = 100.9
    recorder.record_in("still in the buffer")
    assert len(frames_of(path)) == 1
    now = 101.0
    recorder.record_in("a second later")
    assert len(frames_of(path)) == 3
    recorder.close()


def test_recording_stops_at_its_limit_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "MAX_BYTES", 200)
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    for _ in range(20):
        recorder.record_in("x" * 30)
    assert path.stat().st_size <= 200
    assert len(frames_of(path)) >= 1
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]


def test_a_file_that_cannot_be_written_does_not_disturb_the_feed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path / "missing" / "frames.jsonl")
    recorder.record_in("one")
    recorder.record_out("two")
    recorder.close()
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]


def test_a_full_disk_stops_recording_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(Path("/dev/full"))
    recorder.record_in("one")
    recorder.record_in("two")
    recorder.close()
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]


def test_nothing_is_recorded_after_close(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    recorder.record_in("before")
    recorder.close()
    recorder.record_in("after")
    recorder.close()
    assert [text for _, text in frames_of(path)] == ["before"]


def test_a_recorder_without_frames_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    Recorder(path).close()
    assert not path.exists()


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "",
        "[]",
        '{"at_us":1,"dir":"in"}',
        '{"at_us":"1","dir":"in","frame":""}',
        '{"at_us":1,"dir":"sideways","frame":""}',
        '{"at_us":1,"dir":"in","frame":{}}',
        '{"at_us":1,"dir":"in","frame":"","extra":1}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_text('{"at_us":1,"dir":"in","frame":"good"}\n' + line + "\n")
    frames = read(path)
    assert next(frames) == Frame(at_us=1, direction=Direction.IN, frame="good")
    with pytest.raises(ConfigError) as error:
        next(frames)
    assert f"{path}, line 2" in str(error.value)
    assert repr(line) in str(error.value)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"frames\.jsonl: cannot be read: No such file"):
        list(read(tmp_path / "frames.jsonl"))
