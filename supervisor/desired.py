"""What the operator wants: `control.json` in the state directory. Never polled, never in the database.

{"version": 1, "stopped": ["EURUSD@sim"], "started": [], "drain": false,
 "kill_switch": null | {"who": "uid 0", "when_us": 1795000000000000, "reason": "…"},
 "limits": null | {"day": "2026-11-27", "limits": {"max_stake": "100", …}}}
"""

import os
from pathlib import Path
from typing import Any

import attrs
import msgspec

from domain.clock import now_us
from domain.crash_points import crash_point
from domain.states import Desired

FILE_NAME = "control.json"
VERSION = 1


@attrs.frozen(kw_only=True)
class KillSwitch:
    """Who switched all trading off, when and why."""

    who: str
    when_us: int
    reason: str


@attrs.frozen(kw_only=True)
class LimitsOfDay:
    """The limits in force on a day, such as 2026-11-27, by their names; money is text."""

    day: str
    limits: dict[str, Any]


@attrs.define(kw_only=True)
class DesiredState:
    """What was asked for by command, over every restart.

    A market in neither list is wanted as its settings' `autostart` says. `limits` are those in force
    on a day (`supervisor/limits.py`), None where nothing has traded yet.
    """

    version: int = VERSION
    stopped: list[str] = attrs.field(factory=list)
    started: list[str] = attrs.field(factory=list)
    drain: bool = False
    kill_switch: KillSwitch | None = None
    limits: LimitsOfDay | None = None

    def of_market(self, market: str, *, autostart: bool) -> Desired:
        """Return what is wanted of a market."""
        if market in self.stopped:
            return Desired.STOPPED
        return Desired.RUNNING if autostart or market in self.started else Desired.STOPPED

    def want(self, markets: list[str], desired: Desired) -> None:
        """Note what the operator wants of these markets from now on."""
        chosen = set(markets)
        self.stopped = [market for market in self.stopped if market not in chosen]
        self.started = [market for market in self.started if market not in chosen]
        (self.stopped if desired is Desired.STOPPED else self.started).extend(markets)


def cautious(reason: str) -> DesiredState:
    """Return the state to start in when what was wanted before is not known: no new trades.

    A missing file is right only on a first start. Beside existing data, or where nobody can tell,
    it may have been lost with a drain or a kill switch in it.
    """
    switch = KillSwitch(who="marketd", when_us=now_us(), reason=reason)
    return DesiredState(drain=True, kill_switch=switch)


def read(state_dir: Path) -> DesiredState | None:
    """Return what was wanted when the daemon last ran; None where there is no file.

    From an unreadable file, which one with something unknown in it is too, the daemon starts with
    drain and kill switch on; the file is set aside under another name, never deleted.
    """
    path = state_dir / FILE_NAME
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as exc:
        return cautious(f"{path} cannot be read ({exc}); set aside as {_set_aside(path)}")


@attrs.frozen(kw_only=True)
class RestoredState:
    """What a backup's control.json says, and the keys in it that we do not take over."""

    state: DesiredState
    dropped: tuple[str, ...] = ()


def decode_restored(content: bytes | None) -> RestoredState:
    """Return what a backup's control.json says; never anything that this version does not know.

    What arms real trading is among the unknown: it is not carried from one time to another. A file
    that is missing or cannot be read restores to drain and kill switch on.
    """
    if content is None:
        return RestoredState(state=cautious("the backup holds no control.json"))
    try:
        state = msgspec.json.decode(content, type=DesiredState)
        keys = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys()
    except (ValueError, RecursionError) as exc:
        return RestoredState(state=cautious(f"the backup's control.json cannot be read ({exc})"))
    if state.version != VERSION:
        reason = f"the backup's control.json has version {state.version}, written by another marketd"
        return RestoredState(state=cautious(reason))
    return RestoredState(state=state, dropped=tuple(sorted(keys - attrs.asdict(state).keys())))


def merge_restored(*, current: DesiredState | None, restored: DesiredState) -> DesiredState:
    """Return what is wanted after a restore: the markets as restored, and the stricter of all else.

    It starts in drain; a kill switch stays on if either has it, the present one first. Of limits of one
    day the stricter hold; those of an earlier day than the others say nothing of today.
    """
    present = None if current is None else current.kill_switch
    limits = None if current is None else current.limits
    return DesiredState(
        stopped=list(restored.stopped),
        started=list(restored.started),
        drain=True,
        kill_switch=present or restored.kill_switch,
        limits=_stricter(limits, restored.limits),
    )


def _stricter(present: LimitsOfDay | None, restored: LimitsOfDay | None) -> LimitsOfDay | None:
    if present is None or restored is None or present.day != restored.day:
        return max((each for each in (present, restored) if each), key=lambda each: each.day, default=None)
    from strategies.limits import Limits, stricter  # by a restore only

    try:
        both = stricter(Limits.from_table(present.limits), Limits.from_table(restored.limits))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return present  # of another version's limits those that were in force here
    return LimitsOfDay(day=present.day, limits=both.as_table())


def _decode(content: bytes) -> DesiredState:
    """Return what a file says; raise ValueError where we would not know all that it says."""
    state = msgspec.json.decode(content, type=DesiredState)
    if state.version != VERSION:
        raise ValueError(f"version {state.version}, written by another marketd")
    unknown = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys() - attrs.asdict(state).keys()
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return state


def write(state_dir: Path, state: DesiredState) -> None:
    """Put it on disk for good: to a new file, synced, renamed, the directory synced. Blocks."""
    path = state_dir / FILE_NAME
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    crash_point("control.written")
    fresh.rename(path)
    directory = os.open(state_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{FILE_NAME}.unreadable-{now_us()}")
    path.rename(aside)
    return aside
