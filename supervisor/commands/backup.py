"""`marketd backup FILE`: a consistent copy of everything that is kept, whether the daemon runs or not.

It reads in this process, over a connection of its own, and not by messages to the writer: gigabytes
would share the daemon's interpreter lock with its feeds.
"""

import argparse
import contextlib
import re
from pathlib import Path

from domain.errors import ConfigError
from storage.target import redact
from supervisor import desired
from supervisor.commands.database import target_of
from supervisor.commands.progress import disk_errors, rows_in_words, say
from supervisor.settings import find_config, load, state_dir
from supervisor.version import VERSION

# An address up to the `@` that ends its user and password; also in a comment.
ADDRESS_WITH_USER = re.compile(r'://[^"\n]*@')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd backup`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup to write; it must not be there")


def run(arguments: argparse.Namespace) -> int:
    """Write the backup; say in one line what is in it."""
    from storage.backup import write_backup  # noqa: PLC0415  # sqlite3 is no part of the other commands
    from storage.backup_file import CONTROL, SETTINGS  # noqa: PLC0415  # as above

    config = find_config(arguments.config)
    settings = load(config)
    directory = state_dir(arguments.state_dir, settings)
    target = target_of(settings, config=config, state_dir=directory)
    file = arguments.file.expanduser().absolute()
    with disk_errors():
        papers = {SETTINGS: without_passwords(_read_text(config)).encode()}
        with contextlib.suppress(FileNotFoundError):
            papers[CONTROL] = (directory / desired.FILE_NAME).read_bytes()
        manifest = write_backup(target, file=file, papers=papers, made_by=VERSION, tell=say)
        size = file.stat().st_size
    rows = rows_in_words(manifest.rows)
    print(f"{file}: {size / 2**20:.1f} MiB, schema version {manifest.schema_version}, {rows}")
    return 0


def without_passwords(text: str) -> str:
    """Return the settings' text without what stands between user and `@` in an address."""
    return ADDRESS_WITH_USER.sub(lambda match: redact(match[0]), text)


def _read_text(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{config} is not text in UTF-8") from exc
