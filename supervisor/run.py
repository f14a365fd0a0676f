"""`marketd run`: reads the settings, takes the lock, opens the log, plants the tree and lets it live."""

import argparse
import gc
import linecache
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from actors.mailbox import Inbox
from actors.writer import Writer
from domain.clock import now_us
from domain.errors import (
    ConfigError,
    flatten,
)
from domain.events import Event, emit
from storage.target import Target, parse_target
from supervisor import desired, lock, logs
from supervisor.daemon import Daemon
from supervisor.gate import connects_file
from supervisor.life import Life, stacks_kept
from supervisor.log_writer import LogWriter
from supervisor.pause import Pause
from supervisor.sections import Settings
from supervisor.settings import (
    SIMULATED_PROTOCOL,
    SIMULATED_TOKEN,
    SIMULATED_VENUE,
    find_config,
    load,
    simulated_settings,
    state_dir,
)
from supervisor.token_files import make_folder, token_path, write_token
from supervisor.tree import Tree
from supervisor.version import VERSION
from venues.settings import VenueSettings

if TYPE_CHECKING:
    from wire.recording import Recorder

MAX_OPEN_FILES = 65_536  # a socket per market needs more than the usual soft limit of 1,024
NO_ADDRESS_YET = "ws://127.0.0.1:0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `marketd run`."""
    parser.add_argument(
        "--simulated",
        action="store_true",
        help="27 simulated FX markets on an embedded database: no account, server or file needed",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon; return its exit code. Settings and lock come first, the log after them."""
    settings, config = _read_settings(arguments)
    directory = state_dir(arguments.state_dir, settings)
    with lock.held(directory):
        log = logs.open_log(level=settings.service.log_level)
        life = Life(state_dir=directory)
        try:
            life.begin(settings.supervision)
            _allow_open_files()
            _forget_the_start()
            grow = _grow_simulated if arguments.simulated else _grow
            plan = Plan(settings=settings, config=config, state_dir=directory, log=log, life=life)
            with stacks_kept(directory), life.lived():
                return trio.run(grow, plan)
        except BaseExceptionGroup as group:
            wrong = [error for error in flatten(group) if isinstance(error, ConfigError)]
            if not wrong:
                raise
            raise wrong[0] from group
        finally:
            log.close()


@attrs.frozen(kw_only=True)
class Plan:
    """What a daemon is grown from. `config` is None where the settings come from no file."""

    settings: Settings
    config: Path | None
    state_dir: Path
    life: Life
    log: LogWriter


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


def _say_hello(plan: Plan) -> None:
    emit(
        Event.START,
        f"marketd {VERSION} starts in {plan.state_dir}, pid {os.getpid()}",
        actor="tree",
        version=VERSION,
        state_dir=str(plan.state_dir),
    )
    plan.life.say_last()
    for name in plan.settings.unused:
        emit(Event.SETTINGS, f"{name} is accepted but has no effect in this version", actor="settings")


def _allow_open_files() -> None:
    """Raise the soft limit of open files as far as the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _grow(plan: Plan) -> int:
    """Run the daemon; return its exit code."""
    reread = None if plan.config is None else partial(load, plan.config)
    return await _plant(plan, reread).run()


async def _grow_simulated(plan: Plan) -> int:
    """Run the daemon with the venue it connects to inside the same process."""
    from supervisor.simulate.options import SimulateOptions
    from supervisor.simulate.service import serve
    from venues.simulated.prices import FX_PAIRS

    options = SimulateOptions(
        protocol=SIMULATED_PROTOCOL, host="127.0.0.1", port=0, markets=tuple(FX_PAIRS), seed=now_us()
    )
    _prepare_simulation(plan.state_dir)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, options, name="simulated venue")
        url = f"ws://127.0.0.1:{port}"
        config = plan.config

        def reread() -> Settings:
            return simulated_settings(None if config is None else load(config), url=url)

        plan = attrs.evolve(plan, settings=simulated_settings(plan.settings, url=url))
        exit_code = await _plant(plan, None if config is None else reread).run()
        nursery.cancel_scope.cancel()
    return exit_code


def _prepare_simulation(directory: Path) -> None:
    """Log in as an operator would have to, with a token from a file; the venue begins anew with us."""
    path = token_path(directory, venue=SIMULATED_VENUE, settings=VenueSettings(protocol=SIMULATED_PROTOCOL))
    try:
        make_folder(directory)
        write_token(path, SIMULATED_TOKEN)
        # It has seen none of the last run's connects.
        connects_file(directory, SIMULATED_VENUE).unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _plant(plan: Plan, reread: Callable[[], Settings] | None) -> Daemon:
    target = parse_target(plan.settings.storage, state_dir=plan.state_dir, environment=os.environ)
    remembered = desired.read(plan.state_dir)
    tree = Tree(
        settings=plan.settings,
        state_dir=plan.state_dir,
        desired=remembered or desired.DesiredState(),
        make_writer=partial(_make_writer, plan, target),
        recorder=_recorder(plan.settings),
    )
    tree.pause = Pause(wait_s=plan.life.pause_s, bad_ends=plan.life.bad_ends)
    logs.record_events(tree.inbox.events)
    _say_hello(plan)
    return Daemon(tree=tree, reread=reread, log=plan.log, life=plan.life, has_memory=remembered is not None)


def _recorder(settings: Settings) -> "Recorder | None":
    if not settings.service.record_frames:
        return None
    from wire.recording import Recorder

    return Recorder(Path(settings.service.record_frames))


def _make_writer(plan: Plan, target: Target, inbox: Inbox) -> Writer:
    return Writer(folder=plan.state_dir, settings=plan.settings.storage, target=target, inbox=inbox)
