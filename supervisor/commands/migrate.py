"""`marketd migrate`: brings the database's schema up to date while the daemon does not run."""

import argparse
from pathlib import Path

import trio

from actors.mailbox import BatchMailbox, Inbox, Mailbox
from actors.writer import Writer
from domain.database import Contact
from domain.errors import SchemaNewer, StorageBusy, flatten
from domain.gaps import GapLedger
from storage.settings import StorageSettings
from storage.target import Target
from supervisor import lock, logs
from supervisor.commands.database import target_of
from supervisor.commands.owner import become_owner
from supervisor.settings import find_config, load, state_dir

LONGEST_S = 24 * 3600.0  # a migration of a full table may take hours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`marketd migrate` has no flags of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Migrate and say what was done; refuses, naming the pid, while the daemon runs."""
    config = find_config(arguments.config)
    settings = load(config)
    directory = state_dir(arguments.state_dir, settings)
    target = target_of(settings, config=config, state_dir=directory)
    become_owner(directory)
    with lock.held(directory):
        log = logs.open_log(level=settings.service.log_level)
        try:
            trio.run(_migrate, settings.storage, target, directory)
        except BaseExceptionGroup as group:
            newer = [error for error in flatten(group) if isinstance(error, SchemaNewer)]
            if not newer:
                raise
            raise newer[0] from group
        finally:
            log.close()
    print(f"the schema of {target} is up to date")
    return 0


async def _migrate(settings: StorageSettings, target: Target, directory: Path) -> None:
    """Let the writer make its first contact, which migrates; raise StorageBusy where it cannot."""
    inbox = Inbox(
        ticks=BatchMailbox(name="writer/ticks", bound=1),
        events=Mailbox(name="writer/events", bound=1),
        gaps=GapLedger(),
    )
    writer = Writer(folder=directory, settings=settings, target=target, inbox=inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, name="writer")
        contact = await writer.first_contact(deadline_s=LONGEST_S)
        reason = writer.statistics().db_reason
        await writer.finish()
    if contact is Contact.UNREACHABLE:
        raise StorageBusy(f"{target} cannot be migrated: {reason}")
