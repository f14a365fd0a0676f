"""`marketd run`: reads the settings, takes the lock, opens the log, lets the tree live."""

import argparse
import contextlib
import gc
import linecache
import resource
from functools import partial
from pathlib import Path

import trio

from domain.errors import ConfigError, flatten
from supervisor import lock, logs, notify, pid_file
from supervisor.commands.owner import refuse_to_be_root
from supervisor.life import Life, stacks_kept
from supervisor.log_writer import LogWriter
from supervisor.plant import Plan, grow, grow_simulated
from supervisor.sections import Settings
from supervisor.settings import SERVICE_FILE, find_config, load, simulated_settings, state_dir

MAX_OPEN_FILES = 65_536  # a socket per market needs more than the usual soft limit of 1,024
LOG_NAME = "marketd.log"  # of a daemon in the background
NO_ADDRESS_YET = "ws://127.0.0.1:0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `marketd run`."""
    parser.add_argument(
        "--simulated",
        action="store_true",
        help="27 simulated FX markets on an embedded database: no account, server or file needed",
    )
    parser.add_argument(
        "--background",
        action="store_true",
        help="leave the terminal; return once it is ready. For systems without a service manager",
    )
    parser.add_argument(
        "--pid-file",
        type=Path,
        metavar="FILE",
        help=f"write the process id there; in the background by default STATE/{pid_file.NAME}",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon, here or in the background; return the exit code."""
    if not arguments.background:
        return _run(arguments, notify.from_environment())
    from supervisor import background

    return background.launch(partial(_run, arguments))


def _run(arguments: argparse.Namespace, manager: notify.Notifier) -> int:
    """Run it in this process. Settings and lock come first, the log after them."""
    settings, config = _read_settings(arguments)
    directory = state_dir(arguments.state_dir, settings)
    if config == SERVICE_FILE:
        refuse_to_be_root(directory)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock.held(directory))
        pid_path = _pid_path(arguments, directory)
        if pid_path is not None:
            stack.enter_context(pid_file.written(pid_path))
        log = _open_log(arguments, settings, directory)
        life = Life(state_dir=directory)
        try:
            life.begin(settings.supervision)
            _allow_open_files()
            _forget_the_start()
            live = grow_simulated if arguments.simulated else grow
            plan = Plan(
                settings=settings,
                config=config,
                state_dir=directory,
                log=log,
                life=life,
                manager=manager,
                pid_file=pid_path,
            )
            with stacks_kept(directory), life.lived():
                return trio.run(live, plan)
        except BaseExceptionGroup as group:
            wrong = [error for error in flatten(group) if isinstance(error, ConfigError)]
            if not wrong:
                raise
            raise wrong[0] from group
        finally:
            log.close()


def _pid_path(arguments: argparse.Namespace, directory: Path) -> Path | None:
    """Return where the process id is to be written, None for nowhere."""
    if arguments.pid_file is None:
        return directory / pid_file.NAME if arguments.background else None
    return Path(arguments.pid_file).absolute()


def _open_log(arguments: argparse.Namespace, settings: Settings, directory: Path) -> LogWriter:
    level = settings.service.log_level
    if arguments.background:
        return logs.open_log_file(directory / LOG_NAME, level=level)
    return logs.open_log(level=level)


def _read_settings(arguments: argparse.Namespace) -> tuple[Settings, Path | None]:
    """Return the settings and the file they came from; a simulation needs none."""
    if arguments.simulated and arguments.config is None:
        return simulated_settings(None, url=NO_ADDRESS_YET), None
    path = find_config(arguments.config)
    settings = load(path)
    if arguments.simulated:
        settings = simulated_settings(settings, url=NO_ADDRESS_YET)
    return settings, path


def _forget_the_start() -> None:
    """Make room for the markets: let go of what only the start needed, and look at the rest no more.

    attrs keeps the source of every method that it wrote, for tracebacks: 0.5 MiB. Frozen, 40,000
    objects that stay for good are passed over by each full collection of the rest.
    """
    linecache.clearcache()
    gc.collect()
    gc.freeze()


def _allow_open_files() -> None:
    """Raise the soft limit of open files as far as the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
