"""Plants the tree by a plan and lets it live; a simulated venue grows beside it where one is wanted."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from actors.mailbox import Inbox
from actors.writer import Writer
from domain.clock import now_us
from domain.errors import ConfigError
from domain.events import Event, emit
from storage.target import Target, parse_target
from supervisor import desired, logs, notify, pid_file
from supervisor.daemon import Daemon
from supervisor.gate import connects_file
from supervisor.life import Life
from supervisor.log_writer import LogWriter
from supervisor.pause import Pause
from supervisor.sections import Settings
from supervisor.settings import (
    SIMULATED_PROTOCOL,
    SIMULATED_TOKEN,
    SIMULATED_VENUE,
    load,
    simulated_settings,
)
from supervisor.token_files import make_folder, token_path, write_token
from supervisor.tree import Tree
from supervisor.version import VERSION
from venues.settings import VenueSettings

if TYPE_CHECKING:
    from wire.recording import Recorder


@attrs.frozen(kw_only=True)
class Plan:
    """What a daemon is grown from. `config` is None where the settings come from no file."""

    settings: Settings
    config: Path | None
    state_dir: Path
    log: LogWriter
    life: Life
    manager: notify.Notifier
    pid_file: Path | None


async def grow(plan: Plan) -> int:
    """Run the daemon; return its exit code."""
    reread = None if plan.config is None else partial(load, plan.config)
    return await _plant(plan, reread).run()


async def grow_simulated(plan: Plan) -> int:
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
        config=plan.config,
    )
    tree.keeper.is_held = remembered is None
    tree.pause = Pause(wait_s=plan.life.pause_s, bad_ends=plan.life.bad_ends)
    logs.record_events(tree.inbox.events)
    _say_hello(plan)
    path = plan.pid_file
    return Daemon(
        tree=tree,
        reread=reread,
        log=plan.log,
        life=plan.life,
        has_memory=remembered is not None,
        manager=plan.manager,
        tidy_up=(lambda: None) if path is None else partial(pid_file.remove, path),
    )


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


def _recorder(settings: Settings) -> "Recorder | None":
    if not settings.service.record_frames:
        return None
    from wire.recording import Recorder

    return Recorder(Path(settings.service.record_frames))


def _make_writer(plan: Plan, target: Target, inbox: Inbox) -> Writer:
    return Writer(folder=plan.state_dir, settings=plan.settings.storage, target=target, inbox=inbox)
