"""What the commands that talk to a running daemon share."""

import argparse
import os
from pathlib import Path

from domain.errors import ConfigError, MarketdError
from supervisor.client import service_state_dir
from supervisor.lock import holder
from supervisor.settings import SERVICE_FILE, Settings, find_config, load, state_dir


def state_dir_of(arguments: argparse.Namespace) -> Path:
    """Return the state directory: as given, else as the settings file, if there is one, has it."""
    if arguments.state_dir is not None:
        return state_dir(arguments.state_dir, Settings())
    try:
        return state_dir(None, settings_of(arguments))
    except ConfigError:  # the service goes on with what it read before
        running = service_state_dir()
        if running is None or find_config(arguments.config) != SERVICE_FILE:
            raise
        return running


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return what the settings file says; the defaults where there is none, as in a simulation."""
    try:
        config = find_config(arguments.config)
    except ConfigError:
        return Settings()  # a simulation needs no settings file
    if not os.access(config, os.R_OK) and arguments.config is None:
        return _of_a_stranger(config)
    return load(config)


def _of_a_stranger(config: Path) -> Settings:
    """Return the settings of the asker's own simulation, where one runs; else say whose the file is."""
    own = Settings()
    if config == SERVICE_FILE and holder(state_dir(None, own)) is None:
        raise MarketdError(
            f"{config} cannot be read: the service answers root and the members of its group; "
            "as root: usermod --append --groups marketd NAME, who then logs in anew"
        )
    return own
