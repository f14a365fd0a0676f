"""File systems so small that a test can fill them. Mounting needs root; a test is skipped without."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[None]:
    """Mount a file system of a given size there; everybody may write."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def real_disk(folder: Path, *, megabytes: int) -> Iterator[None]:
    """Mount a new ext4 of a loop device there; everybody may write. It is thawed at the end."""
    folder.mkdir(exist_ok=True)
    image = folder.with_name(f"{folder.name}.image")
    with image.open("wb") as file:
        file.truncate(megabytes * 2**20)
    for words in (["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, folder]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            cannot(f"needs the right to mount a loop device: {done.stderr.strip()}")
    folder.chmod(0o777)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", folder], capture_output=True, check=False)
        subprocess.run(["umount", "--lazy", folder], check=True)


def cannot(why: str) -> NoReturn:
    """Skip the test; under CI, where everything is there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextlib.contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Let each write to the file system that is mounted there hang, for the length of the block."""
    subprocess.run(["fsfreeze", "--freeze", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", folder], check=True)


def remount(folder: Path, option: str) -> None:
    """Change the file system that is mounted there: `ro`, `rw`, `size=64m`."""
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def fill(folder: Path) -> Path:
    """Write a file that takes all the room there is."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path
