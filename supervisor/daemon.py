"""What stands round the tree: signals, reload, the status file, the service manager, the last words."""

import logging
import os
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from signal import Signals

import attrs
import trio

from domain.clock import now_us
from domain.database import Contact
from domain.errors import ConfigError
from domain.events import Event, emit
from supervisor import desired, logs, notify, reload, signals, status
from supervisor.life import Life
from supervisor.log_writer import LogWriter
from supervisor.operator import Operator
from supervisor.run_record import End
from supervisor.runtime_directory import show_socket
from supervisor.sections import Settings
from supervisor.supervise import run_essential
from supervisor.tree import Tree
from supervisor.version import VERSION
from supervisor.watchdog import Watchdog

SECOND_STOP_S = 1.0  # a second SIGTERM counts from here on: wrappers send it twice
LINES_EVERY_S = 10.0  # SIGUSR1 writes one line per child at most this often
TELL_EVERY_S = 10.0  # the service manager's STATUS line


@attrs.define(kw_only=True, eq=False)
class Daemon:
    """The process round one tree. `reread` reads the settings file again; None where there is none."""

    tree: Tree
    reread: Callable[[], Settings] | None
    life: Life
    log: LogWriter
    has_memory: bool  # control.json was there when we started
    manager: notify.Notifier = attrs.field(factory=notify.from_environment)
    tidy_up: Callable[[], None] = lambda: None  # called where we leave without a way back
    is_ready: bool = False
    _started_us: int = attrs.field(factory=now_us)
    _lag: status.LoopLag = attrs.field(factory=status.LoopLag)
    _lines_at: float = -float("inf")
    _stop_asked_at: float | None = None
    _is_reload_due: bool = False
    _operator: Operator = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._operator = Operator(tree=self.tree, status=self.status)

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        beside = {
            "signals": self._obey_signals,
            "loop lag": self._lag.measure,
            "signs of life": self.life.show_life,
            "service manager": self.tell_manager,
            "watchdog": self._make_watchdog().run,
        }
        async with trio.open_nursery() as nursery:
            for name, task in beside.items():
                nursery.start_soon(run_essential, name, task, self.tree.give_up, name=name)
            ended = trio.Event()
            contact = await nursery.start(self._run_tree, ended, name="tree")
            await self._settle_desired(contact)
            self._say_ready()
            self._say_pause()
            await ended.wait()
            nursery.cancel_scope.cancel()
        return self._say_last_words()

    def status(self) -> dict[str, object]:
        """Return the status of the daemon."""
        found = status.build(
            self.tree,
            version=VERSION,
            started_us=self._started_us,
            is_ready=self.is_ready,
            lag=self._lag,
            log=self.log,
        )
        return found | {"last_run": status.last_run(self.life.last, self.tree)}

    async def _run_tree(self, ended: trio.Event, *, task_status: trio.TaskStatus[Contact]) -> None:
        run = partial(self.tree.run, handle=self._operator.handle, leave=self._leave_stuck)
        await run(task_status=task_status)
        ended.set()

    async def _settle_desired(self, contact: Contact) -> None:
        """On a first start remember that nothing is held back; else distrust a missing memory."""
        if self.has_memory and (self.tree.state_dir / desired.FILE_NAME).exists():
            return
        wanted, self.tree.keeper.is_held = self.tree.desired, False
        if not self.has_memory and contact is not Contact.FRESH:
            reason = f"{desired.FILE_NAME} is missing, and the database is not new ({contact.value})"
            wanted.drain, wanted.kill_switch = True, desired.cautious(reason).kill_switch
        if wanted.kill_switch is not None:
            emit(
                Event.DESIRED,
                f"drain and kill switch are on: {wanted.kill_switch.reason}",
                level=logging.WARNING,
                actor="tree",
            )
        await self._operator.save()

    def _say_ready(self) -> None:
        self.is_ready = True
        if self.tree.is_stopping:
            return
        count = self.tree.board.wanted_markets()
        emit(Event.READY, f"ready; {count} of {len(self.tree.markets)} markets are to run", actor="tree")
        show_socket(self.tree.state_dir, os.environ)
        self.manager.ready(self._one_line())
        if self._is_reload_due:
            self.reload()

    def _say_pause(self) -> None:
        if reason := self.tree.pause.reason():
            emit(Event.START, f"connects later: {reason}", level=logging.WARNING, actor="tree", reason=reason)

    # --- signals ------------------------------------------------------------------------------

    async def _obey_signals(self) -> None:
        async with trio.open_nursery() as nursery, aclosing(signals.received()) as received:
            async for number in received:
                self._obey(number, nursery)

    def _obey(self, number: Signals, nursery: trio.Nursery) -> None:
        match number:
            case Signals.SIGUSR1:
                self._show_status()
            case Signals.SIGUSR2:  # a disk may keep it long, and the next signal waits for none
                nursery.start_soon(partial(self._operator.set_drain, is_on=True), name="signals/drain")
            case Signals.SIGHUP:
                self.reload()
            case _:
                self._stop(number.name)

    def _stop(self, why: str) -> None:
        """Begin an ordered stop; a second signal, a while later, leaves at once."""
        now = trio.current_time()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            # A storm of them nests handler in handler until Python's stack is used up, and a stop
            # has less and less time to get out of it.
            signals.ignore_harmless()
            emit(Event.STOP, f"stopping on {why}", actor="tree", reason=why)
            self.tree.stop(f"stopped on {why}")
        elif now - self._stop_asked_at >= SECOND_STOP_S:
            self._leave_at_once(why)

    def _leave_at_once(self, why: str) -> None:
        at_risk = self.tree.writer.statistics().unaccepted
        emit(
            Event.STOP,
            f"left at once on a second {why}; up to {at_risk} ticks were in no journal and may be lost",
            level=logging.ERROR,
            actor="tree",
            ticks=at_risk,
        )
        self.life.end(how=End.KILLED, exit_code=1, words=f"left at once on a second {why}")
        self._leave(1)

    def _show_status(self) -> None:
        """Write `status.json`, and a line per child; harmless however often."""
        found = self.status()
        folder = self.tree.state_dir
        self.tree.files.put(folder / status.FILE_NAME, partial(status.write, folder, found))
        now = trio.current_time()
        if now - self._lines_at < LINES_EVERY_S:
            return
        self._lines_at = now
        for line in status.lines(found):
            emit(Event.STATUS, line.text, actor=line.actor)

    def reload(self) -> None:
        """Read the settings again: a bad file changes nothing."""
        if self.tree.is_stopping:
            return  # what would be added now had no place to live in
        if not self.is_ready:
            self._is_reload_due = True  # nothing has grown yet that could be changed
            return
        if self.reread is None:
            emit(Event.RELOAD, "nothing to reload: the simulation has no settings file", actor="tree")
            return
        self.manager.reloading()
        try:
            fresh = self.reread()
            done = reload.apply(self.tree, fresh)
        except ConfigError as exc:
            text = f"settings not reloaded, the old ones stay: {exc}"
            emit(Event.RELOAD, text, level=logging.ERROR, actor="tree")
        else:
            logs.set_level(fresh.service.log_level)
            emit(Event.RELOAD, f"settings reloaded: {done}", actor="tree")
        self.manager.ready(self._one_line())

    # --- the service manager, and the end -----------------------------------------------------

    async def tell_manager(self) -> None:
        """Keep STATUS= current, ask for more time while we start, and say when a stop begins."""
        with trio.CancelScope() as telling:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_how_we_are, name="service manager/status")
                await self.tree.stop_asked()
                telling.cancel()
        self.manager.stopping("stopping")
        await trio.sleep_forever()

    async def _tell_how_we_are(self) -> None:
        while True:
            await trio.sleep(TELL_EVERY_S)
            if self.is_ready:
                self.manager.status(self._one_line())
            else:  # a large journal is looked over
                self.manager.extend_start(3 * TELL_EVERY_S)

    def _make_watchdog(self) -> Watchdog:
        tree = self.tree
        return Watchdog(
            manager=self.manager,
            tasks={
                "the loop": lambda: self._lag.due_at,
                "the supervisor": lambda: tree.pulse.due_at,
                "accepting": lambda: tree.writer.accepting_due_at,
            },
            is_stopping=lambda: tree.is_stopping,
        )

    def _one_line(self) -> str:
        board, writer = self.tree.board, self.tree.writer.statistics()
        database = "up" if writer.db == "up" else f"down ({writer.db_reason})"
        line = f"{board.live_markets()} of {board.wanted_markets()} markets live, database {database}"
        if self.tree.memory.is_short:
            line += ", memory short"
        pause = self.tree.pause.reason()
        return f"{line}; {pause}" if pause else line

    def _say_last_words(self) -> int:
        """Say how it ended; return the exit code, 1 where ticks were lost."""
        figures = self.tree.writer.statistics()
        # Ticks only: what is logged while the writer ends, such as these words, is in no database.
        exit_code = self.tree.exit_code or (1 if figures.unaccepted else 0)
        if figures.unaccepted:
            fate = f"{figures.unaccepted} ticks could not be kept and are lost"
        elif figures.waiting:
            fate = f"{figures.waiting} of them wait in the journal for the next start"
        else:
            fate = "all of them stored"
        trades = self.tree.entrance.under_way
        left = f" with {trades} trades open, which the next start goes on with" if trades else ""
        emit(
            Event.STOP,
            f"stopped{left}; {figures.accepted} ticks accepted, {fate}",
            level=logging.ERROR if exit_code else logging.INFO,
            actor="tree",
            exit_code=exit_code,
            trades=trades,
        )
        lost = f"; {fate}" if figures.unaccepted else ""
        how = End.CRASH if exit_code else End.CLEAN
        self.life.end(how=how, exit_code=exit_code, words=f"{self.tree.stop_reason}{lost}")
        return exit_code

    def _leave_stuck(self) -> None:
        """A database thread does not return, and no thread can be cancelled: go without it."""
        self._leave(self._say_last_words())

    def _leave(self, exit_code: int) -> None:
        self.log.close()
        self.tidy_up()
        os._exit(exit_code)
