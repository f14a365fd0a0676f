"""Reads how the last run ended, and writes for the next one that we live and how we end."""

import contextlib
import faulthandler
import logging
import os
import threading
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs
import trio

from domain.clock import now_us
from domain.errors import ConfigError, flatten
from domain.events import Event, emit
from domain.token import duration_text
from supervisor import oom, run_record
from supervisor.last_run import SETTINGS_EXIT, Evidence, LastRun, judge
from supervisor.log_lines import as_utf8
from supervisor.memory import rss_bytes
from supervisor.pause import bad_ends_after, pause_s
from supervisor.policy import SupervisionSettings
from supervisor.run_record import End, Ended, RunRecord
from supervisor.supervise import TRACEBACK_CHARACTERS
from supervisor.version import VERSION

SIGN_EVERY_S = 30.0
LOOK_EVERY_S = 2.0
GROWN = 1.1  # so many times the memory last shown is worth a sign before its time: it may be the last
LEAVE_WITHIN_S = 0.5  # the end is written within this time, or not at all: a disk may hang
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_ID_VARIABLE = "MARKETD_BOOT_ID"  # for where /proc/sys is hidden; %b in a unit file
LEVELS = {
    End.FIRST: logging.INFO,
    End.CLEAN: logging.INFO,
    End.CRASH: logging.ERROR,
    End.OOM: logging.ERROR,
    End.WATCHDOG: logging.ERROR,
}


def _not_looked_at() -> LastRun:
    return LastRun(end=End.UNKNOWN, detail="nobody has looked yet")


@attrs.define(kw_only=True, eq=False)
class Life:
    """One run of the daemon, in one state directory whose lock it holds.

    What cannot be read or written here costs the knowledge, never the run.
    """

    state_dir: Path
    last: LastRun = attrs.field(factory=_not_looked_at)
    _record: RunRecord | None = None
    _alive: int | None = None  # descriptor of run.alive
    _shown_bytes: int = 0

    def begin(self, settings: SupervisionSettings) -> None:
        """Read why the last run ended, and write down that this one has begun."""
        bad_ends = self._look_back(settings)
        self._record = RunRecord(
            pid=os.getpid(),
            boot_id=boot_id(),
            invocation_id=os.environ.get("INVOCATION_ID", ""),
            started_us=now_us(),
            marketd=VERSION,
            bad_ends=bad_ends,
            pause_s=pause_s(bad_ends, settings),
            memory_limit_bytes=oom.limit_bytes(),
            oom_kills=oom.kills(),
        )
        try:
            run_record.write(self.state_dir, self._record)
            path = self.state_dir / run_record.ALIVE_NAME
            self._alive = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._show_life()
        except OSError as exc:
            with contextlib.suppress(OSError):  # or the next run would take the last one's end for ours
                (self.state_dir / run_record.FILE_NAME).unlink()
            text = f"this run cannot be written down in {self.state_dir}: {exc}"
            emit(Event.LAST_RUN, text, level=logging.WARNING, actor="tree")

    @property
    def pause_s(self) -> float:
        """How long this run is to wait before it connects, because runs before it ended badly."""
        return 0.0 if self._record is None else self._record.pause_s

    @property
    def bad_ends(self) -> int:
        """How many short runs before this one ended badly, in a row."""
        return 0 if self._record is None else self._record.bad_ends

    def say_last(self) -> None:
        """Tell the log how the last run ended, and how long nobody ran."""
        last = self.last
        away = "" if last.ended_us is None else f"; {duration_text(now_us() - last.ended_us)} ago"
        text = f"the last run ended: {last.end} ({last.detail}){away}"
        emit(
            Event.LAST_RUN,
            last.detail if last.end is End.FIRST else text,
            level=LEVELS.get(last.end, logging.WARNING),
            actor="tree",
            state=last.end,
            reason=last.detail,
            ended_us=last.ended_us,
            traceback=last.stack or None,
        )

    # --- signs of life ------------------------------------------------------------------------

    async def show_life(self) -> None:
        """Leave a sign of life now and then, for ever: after a power loss nobody else knows when it was."""
        if self._alive is None:
            await trio.sleep_forever()
        due_at = trio.current_time() + SIGN_EVERY_S
        while True:
            await trio.sleep(LOOK_EVERY_S)
            if trio.current_time() >= due_at or rss_bytes() > GROWN * self._shown_bytes:
                due_at = trio.current_time() + SIGN_EVERY_S
                with contextlib.suppress(OSError):  # the journal says it, where the disk is in trouble
                    await trio.to_thread.run_sync(self._show_life, abandon_on_cancel=True)

    def _show_life(self) -> None:
        if self._alive is not None:
            self._shown_bytes = rss_bytes()
            run_record.write_sign_of_life(self._alive, rss_bytes=self._shown_bytes)

    # --- the end ------------------------------------------------------------------------------

    def end(self, *, how: End, exit_code: int, words: str) -> None:
        """Write down how this run ends: the first word counts."""
        record = self._record
        if record is None or record.ended is not None:
            return
        text = as_utf8(words).decode()  # a file's name may have any bytes in it
        ended = Ended(how=how, exit_code=exit_code, words=text, at_us=now_us())
        self._record = attrs.evolve(record, ended=ended)
        write = partial(_write_end, self.state_dir, self._record)
        writer = threading.Thread(target=write, name="last words", daemon=True)
        writer.start()
        writer.join(LEAVE_WITHIN_S)

    @contextlib.contextmanager
    def lived(self) -> Iterator[None]:
        """Write down an exception that ends the run, as it passes by."""
        with contextlib.ExitStack() as stack:
            stack.push(self._note_exception)
            yield

    def _note_exception(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            return
        leaves = flatten(error)
        wrong = [leaf for leaf in leaves if isinstance(leaf, ConfigError)]
        cause = (wrong or leaves)[0]
        text = f"{type(cause).__name__}: {cause}"
        if not wrong:  # a traceback on standard error is not in every log
            below = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
            emit(Event.CRASH, f"marketd crashed: {text}", level=logging.ERROR, actor="tree", traceback=below)
        self.end(how=End.CRASH, exit_code=SETTINGS_EXIT if wrong else 1, words=text)

    # --- the run before -----------------------------------------------------------------------

    def _look_back(self, settings: SupervisionSettings) -> int:
        """Find out why the last run ended; return how many short runs have ended badly in a row.

        A record that cannot be read counts as just too many.
        """
        stack = run_record.take_stack(self.state_dir)
        try:
            record = run_record.read(self.state_dir)
        except (OSError, ValueError) as exc:
            detail = f"{run_record.FILE_NAME} cannot be read ({exc}); {self._set_aside()}"
            self.last = LastRun(end=End.UNKNOWN, detail=detail, is_bad=True, stack=stack)
            return settings.max_restarts + 1
        if record is None:
            self.last = self._without_record(stack)
            return 0
        found = Evidence(
            record=record,
            boot_id=boot_id(),
            oom_kills=oom.kills(),
            service=run_record.read_service_result(self.state_dir, invocation_id=record.invocation_id),
            signs=run_record.read_signs_of_life(self.state_dir, since_us=record.started_us),
            stack=stack,
        )
        self.last = judge(found)
        return bad_ends_after(self.last, record, settings)

    def _without_record(self, stack: str) -> LastRun:
        if (self.state_dir / "journal.db").exists():
            return LastRun(end=End.UNKNOWN, detail="it left no word of itself", stack=stack)
        return LastRun(end=End.FIRST, detail="nothing ran here before")

    def _set_aside(self) -> str:
        try:
            return f"set aside as {run_record.set_aside(self.state_dir).name}"
        except OSError as exc:
            return f"nor set aside ({exc.strerror})"


def boot_id() -> str:
    """Return what tells this boot of the machine from any other; "" where nothing does."""
    said = os.environ.get(BOOT_ID_VARIABLE, "")
    if not said:
        with contextlib.suppress(OSError):
            said = BOOT_ID.read_text()
    return said.strip().replace("-", "").lower()  # systemd writes it without


@contextlib.contextmanager
def stacks_kept(state_dir: Path) -> Iterator[None]:
    """Have the stacks of all threads written to a file where a signal such as SIGABRT ends us."""
    try:
        file = (state_dir / run_record.STACK_NAME).open("wb", buffering=0)
    except OSError:
        yield  # nobody will know where we hung
        return
    with file:
        faulthandler.enable(file=file)
        try:
            yield
        finally:
            faulthandler.disable()


def _write_end(state_dir: Path, record: RunRecord) -> None:
    with contextlib.suppress(OSError):
        run_record.write_end(state_dir, record)
