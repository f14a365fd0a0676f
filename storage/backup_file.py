"""The file of a backup: an embedded database that also holds a manifest and papers, under a checksum.

Its header names it (`application_id`) and carries the CRC-32 of all its other bytes
(`user_version`), so that one changed byte anywhere is found: SQLite's own check does not look at
values. Offsets: sqlite.org/fileformat2.html, 1.3, seen 2026-11.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import attrs
import msgspec

from domain.errors import PermanentError
from storage.session import Session

FORMAT = 1
MAGIC = b"SQLite format 3\0"
APPLICATION_ID = int.from_bytes(b"mktd", "big")
CHECKSUM_AT, APPLICATION_ID_AT = 60, 68  # bytes from the start, four each, big-endian
HEADER_BYTES = 100
CHUNK_BYTES = 1 << 20
COMPANIONS = ("-wal", "-shm", "-journal")  # what SQLite may keep beside a file

# Names of papers, the rows of the table `backup`.
MANIFEST, CONTROL, SETTINGS = "manifest", "control.json", "settings"


@attrs.frozen(kw_only=True)
class Manifest:
    """What a backup says of itself; `rows` is by table, `source` has no password."""

    format: int = FORMAT
    marketd: str
    schema_version: int
    made_us: int
    source: str
    rows: dict[str, int]


# --- papers -----------------------------------------------------------------------------------


def add_papers(session: Session, papers: dict[str, bytes]) -> None:
    """Put papers into a new backup."""
    session.execute("CREATE TABLE backup (name TEXT NOT NULL PRIMARY KEY, content BLOB NOT NULL)")
    session.begin()
    session.execute_many("INSERT INTO backup VALUES (?, ?)", list(papers.items()))
    session.commit()


def read_papers(session: Session) -> dict[str, bytes]:
    """Return the papers of a backup by name."""
    return {str(name): bytes(content) for name, content in session.query("SELECT name, content FROM backup")}


def encode_manifest(manifest: Manifest) -> bytes:
    """Return it as JSON."""
    return msgspec.json.encode(manifest)


def decode_manifest(content: bytes) -> Manifest:
    """Return what the JSON says; raise `PermanentError` where it is not ours."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise PermanentError(f"its manifest cannot be read: {exc}") from exc
    if manifest.format != FORMAT:
        raise PermanentError(f"its format is {manifest.format}, this marketd knows {FORMAT}")
    return manifest


# --- checksum ---------------------------------------------------------------------------------


def seal(path: Path) -> None:
    """Write name and checksum into the header of a finished backup, and bring all of it to disk."""
    with path.open("r+b") as file:
        file.seek(APPLICATION_ID_AT)
        file.write(struct.pack(">I", APPLICATION_ID))
        file.seek(0)
        checksum = 0
        for chunk in _unsealed_chunks(file):
            checksum = zlib.crc32(chunk, checksum)
        file.seek(CHECKSUM_AT)
        file.write(struct.pack(">I", checksum))
        file.flush()
        os.fsync(file.fileno())


def copy_sealed(backup: BinaryIO, *, to: Path) -> None:
    """Copy a backup; raise `PermanentError` where it is none, or not as it was written."""
    header = backup.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise PermanentError("it is no backup of marketd")
    application_id, expected = (
        int.from_bytes(header[at : at + 4], "big") for at in (APPLICATION_ID_AT, CHECKSUM_AT)
    )
    if application_id != APPLICATION_ID:
        raise PermanentError("it is a database, but no backup of marketd")
    backup.seek(0)
    checksum = 0
    with to.open("wb") as copy:
        for chunk in _unsealed_chunks(backup):
            checksum = zlib.crc32(chunk, checksum)
            copy.write(chunk)
    if checksum != expected:
        raise PermanentError("it is damaged or cut off: its checksum is wrong")


def unseal(session: Session) -> None:
    """Make the copy of a backup an ordinary database again; its checksum was not copied."""
    session.execute("DROP TABLE backup")
    session.execute("PRAGMA application_id = 0")


def _unsealed_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield all bytes, the place of the checksum as zeros."""
    first = file.read(HEADER_BYTES)
    yield first[:CHECKSUM_AT] + bytes(4) + first[CHECKSUM_AT + 4 :]
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


# --- files ------------------------------------------------------------------------------------


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Make an empty file that only its owner may read; where the block fails, it is gone again.

    Raises FileExistsError where it is there already.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    is_done = False
    try:
        yield path
        is_done = True
    finally:
        if not is_done:
            remove(path)


def remove(path: Path) -> None:
    """Remove a database file and what SQLite keeps beside it; what is not there is no error."""
    for each in (path, *companions(path)):
        with suppress(FileNotFoundError):
            each.unlink()


def companions(path: Path) -> list[Path]:
    """Return the names of what SQLite may keep beside a file."""
    return [path.with_name(path.name + suffix) for suffix in COMPANIONS]


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
