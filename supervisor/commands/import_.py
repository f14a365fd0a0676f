"""`marketd import --url URL --map FILE [--dry-run]`: brings another bot's prices in while the daemon rests.

Any schema of MySQL or MariaDB; a map says which column is what. What comes in has the source `imported`
and takes the place of nothing better. It can be given again: what is there already is left alone.
"""

import argparse
import contextlib
import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import attrs

from domain.clock import now_us
from storage.drivers import make_driver
from storage.import_holes import Holes
from storage.import_map import TableMap
from storage.import_place import Place, open_to_look
from storage.import_rows import bounds_of
from storage.import_source import open_source
from storage.import_storing import open_to_keep
from storage.importing import Account, Importing
from storage.settings import StorageSettings
from storage.target import MysqlTarget, Target, parse_source, read_password
from supervisor import lock
from supervisor.commands.database import target_of
from supervisor.commands.import_report import told
from supervisor.commands.owner import become_owner
from supervisor.commands.progress import disk_errors, say
from supervisor.import_map import read_map, where
from supervisor.sections import Settings
from supervisor.settings import find_config, load, market_specs, state_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd import`."""
    parser.add_argument(
        "--url", required=True, metavar="URL", help="the other database: mysql://USER@HOST[:PORT]/NAME"
    )
    parser.add_argument(
        "--map", required=True, type=Path, metavar="FILE", help="which table and column is what, in TOML"
    )
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="file with its password, readable by nobody else; on a terminal it is asked for without one",
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be imported")


def run(arguments: argparse.Namespace) -> int:
    """Import, or tell what would be; refuses, naming the pid, to write while the daemon runs."""
    config = find_config(arguments.config)
    settings = load(config)
    directory = state_dir(arguments.state_dir, settings)
    tables = read_map(arguments.map, known_markets={spec.id for spec in market_specs(settings)})
    source = parse_source(arguments.url, key="--url", password=_password(arguments))
    target = target_of(settings, config=config, state_dir=directory)
    # Before we become somebody who may not read our own code.
    place = _looked_at(target, settings) if arguments.dry_run else _filled(target, settings)
    brought = "would be imported" if arguments.dry_run else "imported"
    with disk_errors(), contextlib.ExitStack() as stack:
        if not arguments.dry_run:
            become_owner(directory)
            stack.enter_context(lock.held(directory))
        accounts = Import(
            source=source, tables=tables, settings=settings.storage, map_file=arguments.map
        ).run(place)
        for account in accounts:
            print("\n".join(told(account, brought=brought)), flush=True)
    return 0


@attrs.frozen(kw_only=True)
class Import:
    """One source's tables on their way into a place."""

    source: MysqlTarget
    tables: Sequence[TableMap]
    settings: StorageSettings
    map_file: Path

    def run(self, closed_place: AbstractContextManager[Place]) -> Iterator[Account]:
        """Yield what became of each table, one after the other; the map is checked before all."""
        with open_source(self.source) as source:
            for number, table in enumerate(self.tables, start=1):
                source.check(table, where=f"{self.map_file}: {where(number)}")
            with closed_place as place:
                covered, at_us = place.covered(), now_us()
                for table in self.tables:
                    bounds = bounds_of(table.kind, settings=self.settings, now_us=at_us)
                    holes = Holes(after_s=table.gap_after_s, covered=covered, known=place.known_holes())
                    importing = Importing(
                        table=table, bounds=bounds, place=place, covered=covered, holes=holes, tell=say
                    )
                    yield importing.run(source.pages(table), about_rows=source.about_rows(table))


def _looked_at(target: Target, settings: Settings) -> AbstractContextManager[Place]:
    """Return where the rows would go, not open yet."""
    return open_to_look(target, settings=settings.storage)


def _filled(target: Target, settings: Settings) -> AbstractContextManager[Place]:
    """Return where the rows go, not open yet."""
    driver = make_driver(target, settings=settings.storage)
    return open_to_keep(driver, settings=settings.storage, tell=say)


def _password(arguments: argparse.Namespace) -> str | None:
    """Return the password that was given beside the url; on a terminal it is asked for."""
    if arguments.password_file is not None:
        return read_password(arguments.password_file, key="--password-file")
    user = arguments.url.partition("://")[2].rpartition("@")[0]
    if ":" in user or "unix_socket" in arguments.url or not sys.stdin.isatty():
        return None
    return getpass.getpass("password of the other database (nothing for none): ") or None
