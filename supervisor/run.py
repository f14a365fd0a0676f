"""`marketd run`: the daemon from its first line to its last."""

import argparse
import logging
import os
from contextlib import aclosing
from functools import partial
from pathlib import Path
from signal import Signals

import attrs
import trio

from actors.mailbox import BatchMailbox, Mailbox
from actors.writer import Contact, Writer
from domain.clock import now_us
from domain.errors import ConfigError
from domain.events import Event, emit
from domain.market import Tick
from domain.messages import ActorEvent
from storage.target import Target, parse_target
from supervisor import desired, lock, logs, notify, reload, signals, status
from supervisor.commands import Commands
from supervisor.policy import flatten
from supervisor.sections import Settings
from supervisor.settings import find_config, load, simulated_settings, state_dir
from supervisor.tree import Tree
from supervisor.version import VERSION
from wire.recording import Recorder

SECOND_STOP_S = 1.0  # a second SIGTERM counts from here on: wrappers send it twice
LINES_EVERY_S = 10.0  # SIGUSR1 writes one line per child at most this often
TELL_EVERY_S = 10.0  # the service manager's STATUS line


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
        try:
            daemon = Daemon(
                settings=settings,
                config=config,
                state_dir=directory,
                log=log,
                is_simulated=arguments.simulated,
            )
            return daemon.run()
        finally:
            log.close()


def _read_settings(arguments: argparse.Namespace) -> tuple[Settings, Path | None]:
    """Return the settings and the file they came from; a simulation needs none."""
    if arguments.simulated and arguments.config is None:
        return simulated_settings(None, url="ws://127.0.0.1:0"), None
    path = find_config(arguments.config)
    settings = load(path)
    if arguments.simulated:
        settings = simulated_settings(settings, url="ws://127.0.0.1:0")
    return settings, path


@attrs.define(kw_only=True, eq=False)
class Daemon:
    """The process round the tree: signals, reload, status file, service manager, last words."""

    settings: Settings
    config: Path | None
    state_dir: Path
    log: logs.LineWriter
    is_simulated: bool
    started_us: int = attrs.field(factory=now_us)
    is_ready: bool = False
    lag: status.LoopLag = attrs.field(factory=status.LoopLag)
    manager: notify.Notifier = attrs.field(factory=notify.from_environment)
    _lines_at: float = -float("inf")
    _has_memory: bool = False  # control.json was there when we started
    _is_reload_due: bool = False
    _tree: Tree | None = None
    _commands: Commands | None = None

    def run(self) -> int:
        """Run until stopped; return the exit code."""
        emit(
            Event.START,
            f"marketd {VERSION} starts in {self.state_dir}, pid {os.getpid()}",
            actor="tree",
            version=VERSION,
            state_dir=str(self.state_dir),
        )
        for name in self.settings.unused:
            emit(Event.SETTINGS, f"{name} is accepted but has no effect in this version", actor="settings")
        try:
            trio.run(self._main)
        except BaseExceptionGroup as group:
            wrong = [error for error in flatten(group) if isinstance(error, ConfigError)]
            if not wrong:
                raise
            raise wrong[0] from group
        return self._say_last_words()

    # --- the tree and what stands round it ----------------------------------------------------

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            if self.is_simulated:
                self.settings = await self._simulate(nursery)
            tree = self._tree = self._plant()
            self._commands = Commands(tree=tree, status=self.status)
            nursery.start_soon(self._obey_signals, name="signals")
            nursery.start_soon(self.lag.measure, name="loop lag")
            nursery.start_soon(self._tell_manager, name="service manager")
            ended = trio.Event()
            contact = await nursery.start(partial(self._run_tree, tree, ended), name="tree")
            await self._settle_desired(contact)
            self._say_ready()
            await ended.wait()
            nursery.cancel_scope.cancel()

    def _plant(self) -> Tree:
        target = parse_target(self.settings.storage, state_dir=self.state_dir, environment=os.environ)
        record = self.settings.service.record_frames
        remembered = desired.read(self.state_dir)
        self._has_memory = remembered is not None
        tree = Tree(
            settings=self.settings,
            state_dir=self.state_dir,
            desired=remembered or desired.DesiredState(),
            make_writer=partial(_make_writer, self.settings, target),
            recorder=Recorder(Path(record)) if record else None,
        )
        logs.record_events(tree.events)
        return tree

    async def _run_tree(
        self, tree: Tree, ended: trio.Event, *, task_status: trio.TaskStatus[Contact]
    ) -> None:
        assert self._commands is not None
        await tree.run(handle=self._commands.handle, leave=self._leave_stuck, task_status=task_status)
        ended.set()

    async def _simulate(self, nursery: trio.Nursery) -> Settings:
        """Serve the simulated venue inside this process; return the settings that lead to it."""
        from supervisor.simulate import SimulateOptions, serve
        from venues.simulated.prices import FX_PAIRS

        options = SimulateOptions(
            protocol="binance", host="127.0.0.1", port=0, markets=tuple(FX_PAIRS), seed=self.started_us
        )
        port = await nursery.start(serve, options, name="simulated venue")
        return simulated_settings(self.settings, url=f"ws://127.0.0.1:{port}/stream")

    async def _settle_desired(self, contact: Contact) -> None:
        """On a first start remember that nothing is held back; else distrust a missing memory."""
        assert self._tree is not None
        assert self._commands is not None
        if self._has_memory and (self.state_dir / desired.FILE_NAME).exists():
            return
        wanted = self._tree.desired
        if not self._has_memory and contact is not Contact.FRESH:
            reason = f"{desired.FILE_NAME} is missing, and the database is not new ({contact.value})"
            wanted.drain, wanted.kill_switch = True, desired.cautious(reason).kill_switch
        if wanted.kill_switch is not None:
            emit(
                Event.DESIRED,
                f"drain and kill switch are on: {wanted.kill_switch.reason}",
                level=logging.WARNING,
                actor="tree",
            )
        await self._commands.save()

    def _say_ready(self) -> None:
        assert self._tree is not None
        self.is_ready = True
        count = self._tree.board.wanted_markets()
        emit(Event.READY, f"ready; {count} of {len(self._tree.markets)} markets are to run", actor="tree")
        self.manager.ready(self._one_line())
        if self._is_reload_due:
            self._reload()

    def status(self) -> dict[str, object]:
        """Return the status of the daemon."""
        assert self._tree is not None
        return status.build(
            self._tree, version=VERSION, started_us=self.started_us, is_ready=self.is_ready, lag=self.lag
        )

    # --- signals ------------------------------------------------------------------------------

    async def _obey_signals(self) -> None:
        stop_asked_at: float | None = None
        async with aclosing(signals.received()) as received:
            async for number in received:
                if number in signals.STOPPING:
                    now = trio.current_time()
                    if stop_asked_at is None:
                        stop_asked_at = now
                        self._begin_stop(number.name)
                    elif now - stop_asked_at >= SECOND_STOP_S:
                        self._leave_at_once(number.name)
                elif number is Signals.SIGUSR1:
                    self._show_status()
                elif number is Signals.SIGUSR2:
                    assert self._commands is not None
                    await self._commands.set_drain(is_on=True)
                else:
                    self._reload()

    def _begin_stop(self, why: str) -> None:
        assert self._tree is not None
        emit(Event.STOP, f"stopping on {why}", actor="tree", reason=why)
        self.manager.stopping(f"stopping on {why}")
        self._tree.stop()

    def _leave_at_once(self, why: str) -> None:
        """A second stop signal: say what may be lost, and go."""
        assert self._tree is not None
        at_risk = self._tree.writer.statistics().waiting + self._tree.ticks.used
        emit(
            Event.STOP,
            f"left at once on a second {why}; up to {at_risk} ticks were not stored and may be lost",
            level=logging.ERROR,
            actor="tree",
            ticks=at_risk,
        )
        self._leave(1)

    def _leave_stuck(self) -> None:
        """A database thread does not return, and no thread can be cancelled: go without it."""
        self._leave(self._say_last_words())

    def _leave(self, exit_code: int) -> None:
        self.log.close()
        os._exit(exit_code)

    def _show_status(self) -> None:
        """Write `status.json`, and a line per child; harmless however often."""
        assert self._tree is not None
        found = self.status()
        try:
            status.write(self.state_dir, found)
        except OSError as exc:
            emit(Event.STATUS, f"status.json cannot be written: {exc}", level=logging.WARNING, actor="tree")
        now = trio.current_time()
        if now - self._lines_at < LINES_EVERY_S:
            return
        self._lines_at = now
        for line in status.lines(found):
            emit(Event.STATUS, line)

    def _reload(self) -> None:
        """Read the settings again: a bad file changes nothing."""
        assert self._tree is not None
        if self._tree.is_stopping:
            return  # what would be added now had no place to live in
        if not self.is_ready:
            self._is_reload_due = True  # nothing has grown yet that could be changed
            return
        if self.config is None:
            emit(Event.RELOAD, "nothing to reload: the simulation has no settings file", actor="tree")
            return
        self.manager.reloading()
        try:
            fresh = load(self.config)
            if self.is_simulated:
                fresh = simulated_settings(fresh, url=self.settings.venues["sim"].url or "")
            done = reload.apply(self._tree, fresh)
        except ConfigError as exc:
            emit(
                Event.RELOAD,
                f"settings not reloaded, the old ones stay: {exc}",
                level=logging.ERROR,
                actor="tree",
            )
        else:
            logs.set_level(fresh.service.log_level)
            emit(Event.RELOAD, f"settings reloaded: {done}", actor="tree")
        self.manager.ready(self._one_line())

    # --- the service manager, and the end -----------------------------------------------------

    async def _tell_manager(self) -> None:
        """Ping the watchdog, which proves that this loop turns, and keep STATUS= current."""
        every_s = min(TELL_EVERY_S, (self.manager.watchdog_s or TELL_EVERY_S * 2) / 2)
        while True:
            await trio.sleep(every_s)
            if self.manager.watchdog_s is not None:
                self.manager.alive()
            if self.is_ready and self._tree is not None and not self._tree.is_stopping:
                self.manager.status(self._one_line())

    def _one_line(self) -> str:
        assert self._tree is not None
        board, writer = self._tree.board, self._tree.writer.statistics()
        database = "up" if writer.db == "up" else f"down ({writer.db_reason})"
        return f"{board.live_markets()} of {board.wanted_markets()} markets live, database {database}"

    def _say_last_words(self) -> int:
        """Say how it ended; return the exit code, 1 where ticks were lost."""
        assert self._tree is not None
        figures = self._tree.writer.statistics()
        # Ticks only: what is logged while the writer ends, such as these words, is in no database.
        unstored = figures.waiting + self._tree.ticks.used
        exit_code = self._tree.exit_code or (1 if unstored else 0)
        fate = f"{unstored} ticks could not be stored and are lost" if unstored else "all of them stored"
        emit(
            Event.STOP,
            f"stopped; {figures.accepted} ticks accepted, {fate}",
            level=logging.ERROR if exit_code else logging.INFO,
            actor="tree",
            exit_code=exit_code,
        )
        return exit_code


def _make_writer(
    settings: Settings, target: Target, ticks: BatchMailbox[list[Tick]], events: Mailbox[ActorEvent]
) -> Writer:
    return Writer(settings=settings.storage, target=target, ticks=ticks, events=events)
