"""Which database a command uses that does not ask the daemon."""

import argparse
import os
from pathlib import Path

import attrs

from domain.errors import ConfigError, PermanentError
from storage.target import CREDENTIAL, MysqlTarget, Target, parse_target
from supervisor.settings import SERVICE_FILE, Settings, find_config

NAMED_BY_UNIT = SERVICE_FILE.with_name(CREDENTIAL)  # LoadCredential= of the service file reads it


def target_of(settings: Settings, *, config: Path, state_dir: Path) -> Target:
    """Return the database that the settings name.

    The service is handed its password by the service manager. A command that uses the service's
    settings reads the same file, which is for root only; `PermanentError` says so to others.
    """
    storage = settings.storage
    target = parse_target(storage, state_dir=state_dir, environment=os.environ)
    has_none = storage.password_file is None and "CREDENTIALS_DIRECTORY" not in os.environ
    file = config.absolute().with_name(CREDENTIAL)
    if not isinstance(target, MysqlTarget) or not has_none or file != NAMED_BY_UNIT or not file.exists():
        return target
    if not os.access(file, os.R_OK):
        raise PermanentError(f"{file}, the password of the database, is for root only: use sudo")
    storage = attrs.evolve(storage, password_file=str(file))
    return parse_target(storage, state_dir=state_dir, environment={})


def database_of(arguments: argparse.Namespace, settings: Settings, *, state_dir: Path) -> Target:
    """Return the same where there may be no settings file, as after a simulation."""
    try:
        config = find_config(arguments.config)
    except ConfigError:
        config = state_dir  # no file: only the environment can name a password
    return target_of(settings, config=config, state_dir=state_dir)
