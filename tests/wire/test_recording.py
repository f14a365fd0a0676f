import gzip
import logging
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigError
from wire import rotation
from wire.recording import Direction, Frame, Recorder, read

HANGING_S = 30  # only a guard against hanging


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


# --- a file that is full ----------------------------------------------------------------------


PART_BYTES = 2_000


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "PART_BYTES", PART_BYTES)


def wait_until_compressed(path: Path) -> None:
    for thread in threading.enumerate():
        if thread.name == f"compress {path.name}":
            thread.join(HANGING_S)


def record_numbers(path: Path, numbers: range) -> None:
    recorder = Recorder(path)
    for number in numbers:
        recorder.record_in(f"frame {number}")
    recorder.close()
    wait_until_compressed(path)


def parts_of(path: Path) -> list[Path]:
    """Return the files of a recording, oldest first."""
    aside = [file for file in path.parent.iterdir() if file != path]
    return [*sorted(aside, key=lambda file: int(file.name.split(".")[2])), path]


def numbers_in(path: Path) -> list[int]:
    return [int(frame.frame.split()[1]) for part in parts_of(path) for frame in read(part)]


@pytest.mark.usefixtures("_small_parts")
def test_a_full_file_is_put_aside_and_compressed(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    record_numbers(path, range(100))
    names = [part.name for part in parts_of(path)]
    assert names == [*(f"frames.jsonl.{number}.gz" for number in range(1, len(names))), "frames.jsonl"]
    assert len(names) > 2
    assert numbers_in(path) == list(range(100))


@pytest.mark.usefixtures("_small_parts")
def test_every_part_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    before = os.umask(0)
    try:
        record_numbers(path, range(100))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(part.stat().st_mode) for part in parts_of(path)} == {0o600}


@pytest.mark.usefixtures("_small_parts")
def test_the_oldest_goes_when_there_are_eight(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    record_numbers(path, range(1000))
    record_numbers(path, range(1000, 1100))
    found = numbers_in(path)
    assert len(parts_of(path)) == rotation.MOST_PARTS + 1
    assert found == list(range(found[0], 1100))
    assert found[0] > 0


@pytest.mark.usefixtures("_small_parts")
def test_a_plain_part_counts_as_much_and_is_compressed_by_the_next_recorder(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    line = '{"at_us":1,"dir":"in","frame":"frame 0"}\n'
    for number in range(1, 12):  # as many recorders were killed before they could compress one
        (tmp_path / f"frames.jsonl.{number}").write_text(line)
    record_numbers(path, range(1, 2))
    assert [part.name for part in parts_of(path)] == [
        *(f"frames.jsonl.{number}.gz" for number in range(5, 12)),
        "frames.jsonl",
    ]
    assert numbers_in(path) == [0] * 7 + [1]


@pytest.mark.usefixtures("_small_parts")
def test_a_compression_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    (tmp_path / "frames.jsonl.1").write_text('{"at_us":1,"dir":"in","frame":"frame 0"}\n')
    (tmp_path / "frames.jsonl.1.gz.half").write_bytes(b"\x1f\x8b half of it")
    record_numbers(path, range(1, 2))
    assert [part.name for part in parts_of(path)] == ["frames.jsonl.1.gz", "frames.jsonl"]
    assert numbers_in(path) == [0, 1]


@pytest.mark.usefixtures("_small_parts")
def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    others = ["frames.jsonl.old", "frames.jsonl.1.bak", "my-frames.jsonl.1", "frames-jsonl.1"]
    for name in others:
        (tmp_path / name).write_text("mine")
    recorder = Recorder(tmp_path / "frames.jsonl")
    for _ in range(2000):
        recorder.record_in("x" * 30)
    recorder.close()
    wait_until_compressed(tmp_path / "frames.jsonl")
    assert [(tmp_path / name).read_text() for name in others] == ["mine"] * len(others)


@pytest.mark.usefixtures("_small_parts")
def test_a_frame_larger_than_a_part_has_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    for frame in ("a", "b" * 3 * PART_BYTES, "c"):
        recorder.record_in(frame)
    recorder.close()
    wait_until_compressed(path)
    assert [[frame.frame[:1] for frame in read(part)] for part in parts_of(path)] == [["a"], ["b"], ["c"]]


@pytest.mark.usefixtures("_small_parts")
def test_a_part_that_cannot_be_put_aside_stops_recording_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "rename", refuse)
    record_numbers(tmp_path / "frames.jsonl", range(1000))
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]
    assert (tmp_path / "frames.jsonl").stat().st_size <= PART_BYTES


# --- secrets ----------------------------------------------------------------------------------


def test_a_known_secret_is_blanked_whatever_key_it_has(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    recorder.keep_secret("eyJhb.Gci/12-_")
    recorder.record_out('{"hello":"eyJhb.Gci/12-_"}')
    recorder.record_in('{"echo":"say eyJhb.Gci\\/12-_!","n":1}')
    recorder.close()
    assert [text for _, text in frames_of(path)] == [
        '{"hello":"xxxxx.xxx/11-_"}',
        '{"echo":"say xxxxx.xxx\\/11-_!","n":1}',
    ]


def test_what_names_an_account_is_blanked(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    recorder = Recorder(path)
    recorder.record_in('[{"d":[{"amount":10,"account_id":2222222222}],"e":55}]')
    recorder.close()
    assert [text for _, text in frames_of(path)] == ['[{"d":[{"amount":10,"account_id":1111111111}],"e":55}]']


# --- a file that cannot be written --------------------------------------------------------------


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


# --- compressed ones --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["frames.jsonl.gz", "frames.jsonl"])
def test_a_compressed_recording_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b'{"at_us":1,"dir":"in","frame":"good"}\n' * 3))
    assert [text for _, text in frames_of(path)] == ["good"] * 3


@pytest.mark.parametrize("spoil", ["cut", "flip", "head"])
def test_a_damaged_compressed_recording_is_named(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "frames.jsonl.gz"
    whole = bytearray(gzip.compress(os.urandom(20_000).hex().encode()))
    if spoil == "cut":
        del whole[len(whole) // 2 :]
    elif spoil == "flip":
        whole[len(whole) // 2] ^= 0xFF
    else:
        del whole[2:]
    path.write_bytes(whole)
    with pytest.raises(ConfigError, match=r"frames\.jsonl\.gz"):
        list(read(path))
