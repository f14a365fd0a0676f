"""Brings a backup back: first into a copy of its own, checked and migrated, then into the database."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import attrs

from domain.errors import PermanentError, SchemaNewer, StorageBusy
from storage.backup_file import (
    MANIFEST,
    Manifest,
    copy_sealed,
    decode_manifest,
    new_file,
    read_papers,
    remove,
    unseal,
)
from storage.migrations import bring_up_to_date, schema_version
from storage.own_session import open_session
from storage.restore_sqlite import SqlitePlace
from storage.session import Session
from storage.sqlite import SqliteDriver
from storage.tables import check_version, count_rows, tables_of
from storage.target import MysqlTarget, SqliteTarget, Target


class Place(Protocol):
    """A database that a backup is to be brought into."""

    @property
    def target(self) -> Target:
        """Which database it is."""

    @property
    def staging(self) -> Path:
        """Where the checked copy is to be made."""

    def occupied_by(self) -> str | None:
        """Return what would have to be set aside, in words; None where no row is there."""

    def load(self, staged: Path, *, tell: Callable[[str], None]) -> None:
        """Bring the copy beside the present data, which stay as they are. Can be repeated."""

    def switch(self, staged: Path, *, at_us: int) -> str | None:
        """Let the loaded data take the place of the present ones, in one step.

        Returns where those were set aside, in words; None where there were none.
        """


@attrs.frozen(kw_only=True)
class Staged:
    """A checked copy of a backup, of the newest schema and without its papers."""

    path: Path
    manifest: Manifest
    papers: dict[str, bytes]

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Open the copy, to read or to mend it before it is loaded."""
        with open_session(SqliteDriver(target=SqliteTarget(path=self.path))) as session:
            yield session
            session.query("PRAGMA journal_mode = DELETE")  # one file again


def make_place(target: Target, *, state_dir: Path) -> Place:
    """Return the place that a target is."""
    if isinstance(target, MysqlTarget):
        # Not at the top: PyMySQL's memory is spent only where a server is used.
        from storage.restore_mysql import MysqlPlace  # noqa: PLC0415

        return MysqlPlace(target=target, state_dir=state_dir)
    return SqlitePlace(target=target)


@contextlib.contextmanager
def staged(backup: BinaryIO, *, at: Path, name: str, tell: Callable[[str], None]) -> Iterator[Staged]:
    """Copy a backup to `at`, check everything, bring it to the newest schema; it is gone afterwards.

    Raises `PermanentError` where it is no whole backup, or one that only a newer marketd can read.
    What a restore that was killed has left at `at` is removed; the caller holds the lock.
    """
    remove(at)
    try:
        with new_file(at):
            tell(f"checking {name}")
            try:
                found = _checked(backup, at=at, name=name)
            except (PermanentError, SchemaNewer, StorageBusy) as exc:
                raise PermanentError(f"{name} cannot be restored: {exc}") from exc
            with found.session() as session:
                unseal(session)
                bring_up_to_date(session, patient_session=lambda: contextlib.nullcontext(session), tell=tell)
        yield found
    finally:
        remove(at)


def _checked(backup: BinaryIO, *, at: Path, name: str) -> Staged:
    copy_sealed(backup, to=at)
    with open_session(SqliteDriver(target=SqliteTarget(path=at))) as session:
        found = session.query("PRAGMA quick_check(1)")
        if found != [("ok",)]:
            raise PermanentError(f"it is damaged: {found[0][0]}")
        papers = read_papers(session)
        manifest = decode_manifest(papers.pop(MANIFEST, b""))
        check_version(manifest.schema_version, what=name)
        if schema_version(session) != manifest.schema_version:
            raise PermanentError("its schema is not the one of its manifest")
        if count_rows(session, tables_of(manifest.schema_version)) != manifest.rows:
            raise PermanentError("its rows are not those of its manifest")
    return Staged(path=at, manifest=manifest, papers=papers)
