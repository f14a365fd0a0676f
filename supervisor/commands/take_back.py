"""Takes an upgrade back, as far as data go: the backup from before, and what was accepted since.

`python -m supervisor.commands.take_back FILE --since-us N`, given by deploy/install.sh to the *old*
version while no daemon runs: the new one has just proved that it cannot be trusted. Its journal gets
another name, its database is set aside by the restore, and their rows are brought over from there;
where the new version keeps them in a form that this one does not know, they stay there and it says so.
Killed at any point, it can be given again.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from domain.clock import now_us
from domain.errors import JournalBroken, MarketdError, StorageBusy
from storage.backup_file import companions, sync_folder
from storage.bring_over import OVERLAP_US, bring_over, set_aside_since
from storage.drivers import make_driver
from storage.journal_file import NAME as JOURNAL
from storage.journal_reader import JournalReader
from storage.own_session import open_session
from storage.payloads import Lane
from storage.restore import make_place
from storage.restore_mysql import set_tables_aside
from storage.settings import StorageSettings
from storage.store import Store, Work
from storage.target import MysqlTarget, Target
from supervisor import lock
from supervisor.commands.database import target_of
from supervisor.commands.owner import become_owner
from supervisor.commands.progress import disk_errors
from supervisor.commands.restore import Restore
from supervisor.settings import load, state_dir


def main() -> int:
    """Do it and say what is where; 1 where it could not be done."""
    parser = argparse.ArgumentParser(description="Restore the backup from before an upgrade.")
    parser.add_argument("file", type=Path, help="the backup")
    parser.add_argument("--since-us", type=int, required=True, help="when the upgrade began")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path)
    try:
        for line in take_back(parser.parse_args()):
            print(line, flush=True)
    except MarketdError as exc:
        print(f"marketd: {exc}", file=sys.stderr)
        return 1
    return 0


def take_back(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield what was done, in lines for people."""
    settings = load(arguments.config)
    directory = state_dir(arguments.state_dir, settings)
    target = target_of(settings, config=arguments.config, state_dir=directory)
    place = make_place(target, state_dir=directory)
    with disk_errors(), arguments.file.open("rb") as backup:
        become_owner(directory)
        with lock.held(directory):
            journal = _set_journal_aside(directory, since_us=arguments.since_us)
            if isinstance(target, MysqlTarget):
                set_tables_aside(target, at_us=now_us())
            yield from Restore(place=place, state_dir=directory, may_replace=True).run(
                backup, name=str(arguments.file)
            )
            # Where a restore was killed after its last step, and is repeated, there are two.
            for aside in set_aside_since(target, since_us=arguments.since_us):
                yield _bring_rows(target, aside=aside, from_us=arguments.since_us - OVERLAP_US)
            yield _bring_journal(target, folder=journal, settings=settings.storage)


def _set_journal_aside(directory: Path, *, since_us: int) -> Path:
    """Move the journal into a folder of its own, itself last: then all of it is there."""
    folder = directory / f"{JOURNAL}.replaced-{since_us}"
    folder.mkdir(mode=0o750, exist_ok=True)
    path = directory / JOURNAL
    if path.exists() and not (folder / JOURNAL).exists():
        for each in (*companions(path), path):
            if each.exists():
                each.rename(folder / each.name)
        sync_folder(folder)
        sync_folder(directory)
    return folder


def _bring_rows(target: Target, *, aside: str, from_us: int) -> str:
    try:
        return f"brought back from {aside}, which is kept: {bring_over(target, aside=aside, from_us=from_us)}"
    except StorageBusy as exc:
        return f"what was stored since the backup is still in {aside}; it could not be brought back: {exc}"


def _bring_journal(target: Target, *, folder: Path, settings: StorageSettings) -> str:
    if not (folder / JOURNAL).exists():
        return "there was no journal"
    reader = JournalReader(folder)
    try:
        rows = _store_all(target, reader, settings=settings)
    except (StorageBusy, JournalBroken) as exc:
        return f"what was accepted and not stored is still in {folder}; it could not be brought back: {exc}"
    finally:
        reader.close()
    return f"brought back from the journal, which is kept in {folder}: {rows:,} rows"


def _store_all(target: Target, reader: JournalReader, *, settings: StorageSettings) -> int:
    """Store every batch that the database does not have; return how many rows those were."""
    store, rows = Store(reader=reader, timeframes_s=settings.timeframes_s), 0
    with open_session(make_driver(target, settings=settings)) as session:
        for lane in Lane:
            through = 0
            while (head := reader.head(lane, after=through)) is not None:
                work = Work(
                    lane=lane,
                    offered=(),
                    accepted_through=head.position,
                    max_rows=settings.flush_rows,
                    until_us=None,
                    kept_from_us=now_us() - settings.keep_ticks_days * 86_400_000_000,
                )
                done = store.store(session, work)
                through, rows = done.position, rows + done.rows
    return rows


if __name__ == "__main__":
    sys.exit(main())
