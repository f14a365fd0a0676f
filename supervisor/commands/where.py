"""What the commands that talk to a running daemon share."""

import argparse
import os
from pathlib import Path

from domain.errors import ConfigError
from supervisor.settings import Settings, find_config, load, state_dir


def state_dir_of(arguments: argparse.Namespace) -> Path:
    """Return the state directory: as given, else as the settings file, if there is one, has it."""
    if arguments.state_dir is not None:
        return state_dir(arguments.state_dir, Settings())
    return state_dir(None, settings_of(arguments))


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return what the settings file says; the defaults where there is none, as in a simulation."""
    try:
        config = find_config(arguments.config)
    except ConfigError:
        return Settings()  # a simulation needs no settings file
    if not os.access(config, os.R_OK) and arguments.config is None:
        return Settings()
    return load(config)
