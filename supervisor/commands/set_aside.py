"""Puts the tables of a version aside that is about to be taken back; only that version knows them all.

`python -m supervisor.commands.set_aside`, given by deploy/install.sh to the *new* version while no daemon
runs, before the old one restores its backup (`take_back`). Embedded databases are set aside whole by
that. It can be given again.
"""

import argparse
import sys
from pathlib import Path

from domain.clock import now_us
from domain.errors import MarketdError
from storage.restore_mysql import set_tables_aside
from storage.target import MysqlTarget
from supervisor import lock
from supervisor.commands.database import target_of
from supervisor.commands.owner import become_owner
from supervisor.settings import load, state_dir


def main() -> int:
    """Do it; 1 where it could not be done."""
    parser = argparse.ArgumentParser(description="Put this version's tables aside.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path)
    try:
        set_aside(parser.parse_args())
    except MarketdError as exc:
        print(f"marketd: {exc}", file=sys.stderr)
        return 1
    return 0


def set_aside(arguments: argparse.Namespace) -> None:
    """Rename the server's tables, if it is a server's database."""
    settings = load(arguments.config)
    directory = state_dir(arguments.state_dir, settings)
    target = target_of(settings, config=arguments.config, state_dir=directory)
    if isinstance(target, MysqlTarget):
        become_owner(directory)
        with lock.held(directory):
            set_tables_aside(target, at_us=now_us())


if __name__ == "__main__":
    sys.exit(main())
