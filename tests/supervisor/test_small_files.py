import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trees import GUARD_S

from supervisor.small_files import SmallFiles


@asynccontextmanager
async def writing() -> AsyncIterator[SmallFiles]:
    """Run the child for the length of the block."""
    files = SmallFiles()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(files.run)
        yield files
        nursery.cancel_scope.cancel()


class HungDisk:
    """A disk that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.has_begun, self.go = threading.Event(), threading.Event()
        self.written: list[str] = []

    def write(self, what: str) -> None:
        self.has_begun.set()
        self.go.wait(GUARD_S)
        self.written.append(what)


async def test_what_is_put_gets_written(tmp_path: Path) -> None:
    async with writing() as files:
        for name in ("a", "b", "c"):
            files.put(tmp_path / name, partial((tmp_path / name).write_text, name))
        await files.written(deadline_s=GUARD_S)
    assert contents(tmp_path) == ["a", "b", "c"]


def contents(folder: Path) -> list[str]:
    return sorted(path.read_text() for path in folder.iterdir())


async def test_of_several_writes_that_wait_for_the_disk_the_latest_counts() -> None:
    disk = HungDisk()
    async with writing() as files:
        files.put(Path("file"), partial(disk.write, "first"))
        await trio.to_thread.run_sync(disk.has_begun.wait, GUARD_S)
        for number in range(1_000):
            files.put(Path("file"), partial(disk.write, f"{number}"))
        files.put(Path("other"), partial(disk.write, "other"))
        disk.go.set()
        await files.written(deadline_s=GUARD_S)
    assert disk.written == ["first", "999", "other"]


async def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_the_end() -> None:
    disk = HungDisk()
    with trio.fail_after(GUARD_S / 3):
        async with writing() as files:
            files.put(Path("file"), partial(disk.write, "late"))
            await files.written(deadline_s=0.05)
    assert disk.written == []
    disk.go.set()


async def test_a_file_that_cannot_be_written_is_said_and_the_next_one_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="marketd")
    missing, other = tmp_path / "missing" / "file", tmp_path / "file"
    async with writing() as files:
        files.put(missing, partial(missing.write_text, "text"))
        files.put(other, partial(other.write_text, "text"))
        await files.written(deadline_s=GUARD_S)
    assert other.read_text() == "text"
    assert [str(missing) in record.getMessage() for record in caplog.records] == [True]
