"""`marketd restore FILE [--replace]`: brings a backup back while the daemon does not run.

What is there already is set aside under another name, never deleted. Until the last step nothing of
it is changed; killed at any point, the old data or the restored ones are there, wholly, and the
command can be given again.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs

from domain.clock import as_text, now_us
from domain.errors import PermanentError
from supervisor import desired, lock
from supervisor.commands.database import target_of
from supervisor.commands.owner import become_owner
from supervisor.commands.progress import disk_errors, rows_in_words, say
from supervisor.settings import FILE_NAME, find_config, load, state_dir

if TYPE_CHECKING:
    from storage.restore import Place, Staged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd restore`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a file that `marketd backup` wrote")
    parser.add_argument(
        "--replace", action="store_true", help="set the present data aside under another name"
    )


def run(arguments: argparse.Namespace) -> int:
    """Restore and say what is where; refuses, naming the pid, while the daemon runs."""
    config = find_config(arguments.config)
    settings = load(config)
    directory = state_dir(arguments.state_dir, settings)
    # Before we become somebody who may not read them: the password, the backup itself, our own code.
    from storage.restore import make_place  # noqa: PLC0415  # sqlite3 is no part of the other commands

    target = target_of(settings, config=config, state_dir=directory)
    place = make_place(target, state_dir=directory)
    with disk_errors(), arguments.file.open("rb") as backup:
        become_owner(directory)
        with lock.held(directory):
            restore = Restore(place=place, state_dir=directory, may_replace=arguments.replace)
            lines = restore.run(backup, name=str(arguments.file))
    print("\n".join(lines))
    return 0


@attrs.frozen(kw_only=True)
class Restore:
    """One restore into a database and the state directory, whose lock is held."""

    place: "Place"
    state_dir: Path
    may_replace: bool
    at_us: int = attrs.field(factory=now_us)

    def run(self, backup: BinaryIO, *, name: str) -> list[str]:
        """Do it; return what was done, in lines for people."""
        from storage.restore import staged  # noqa: PLC0415  # as above

        place = self.place
        with staged(backup, at=place.staging, name=name, tell=say) as copy:
            occupied_by = place.occupied_by()
            if occupied_by is not None and not self.may_replace:
                raise PermanentError(f"{occupied_by}; --replace sets it aside and restores in its place")
            self._record_hole(copy)
            place.load(copy.path, tell=say)
            with self._control_restored(copy, has_data=occupied_by is not None) as control_lines:
                aside = place.switch(copy.path, at_us=self.at_us)
        rows, made = rows_in_words(copy.manifest.rows), as_text(copy.manifest.made_us)
        lines = [f"restored into {place.target}: {rows}, as of {made}, from {copy.manifest.source}"]
        if aside is not None:
            lines.append(f"the data from before are in {aside}")
        return [*lines, *control_lines, *self._settings_beside(copy)]

    def _record_hole(self, copy: "Staged") -> None:
        """Write down, in the copy, what lies between it and the journal that stays where it is."""
        from storage.backup import record_hole  # noqa: PLC0415  # as in run
        from storage.journal_file import NAME as JOURNAL  # noqa: PLC0415
        from storage.survey import first_ticks_after  # noqa: PLC0415

        with copy.session() as session:
            positions = session.query("SELECT journal_id, batch FROM journal_position WHERE lane = 'ticks'")
            first = first_ticks_after(self.state_dir / JOURNAL, numbers=dict(positions))
            holes = record_hole(session, first_after=first)
        if holes:
            say(f"the journal goes on later than the backup: {holes} markets have a gap in between")

    @contextlib.contextmanager
    def _control_restored(self, copy: "Staged", *, has_data: bool) -> Iterator[list[str]]:
        """Write control.json before the data change, so that they never run without its drain.

        Where the block fails, the markets are wanted as before, and drain stays on: an answer may
        have been lost, and the data restored all the same.
        """
        from storage.backup_file import CONTROL  # noqa: PLC0415  # as in run

        path = self.state_dir / desired.FILE_NAME
        current = desired.read(self.state_dir)
        if current is None and has_data:
            current = desired.cautious(f"{path} was missing beside data when a backup was restored")
        restored = desired.decode_restored(copy.papers.get(CONTROL))
        merged = desired.merge_restored(current=current, restored=restored.state)
        if path.exists():
            path.with_name(f"{path.name}.replaced-{self.at_us}").hardlink_to(path)
        with contextlib.ExitStack() as undo:
            undo.callback(self._want_as_before, current or desired.DesiredState(), merged)
            desired.write(self.state_dir, merged)
            yield list(_control_in_words(merged, dropped=restored.dropped))
            undo.pop_all()

    def _want_as_before(self, current: desired.DesiredState, merged: desired.DesiredState) -> None:
        markets = attrs.evolve(merged, stopped=current.stopped, started=current.started)
        desired.write(self.state_dir, markets)
        say("the restore failed; drain is on: `marketd drain off` allows new trades again")

    def _settings_beside(self, copy: "Staged") -> Iterator[str]:
        """Write the backup's settings beside; which ones are used is the operator's business."""
        from storage.backup_file import SETTINGS, new_file  # noqa: PLC0415  # as in run

        if SETTINGS not in copy.papers:
            return
        with new_file(self.state_dir / f"{FILE_NAME}.restored-{self.at_us}") as path:
            path.write_bytes(copy.papers[SETTINGS])
        yield f"the settings of the backup are in {path}; those in use were not changed"


def _control_in_words(state: desired.DesiredState, *, dropped: tuple[str, ...]) -> Iterator[str]:
    yield "drain is on: `marketd drain off` allows new trades again"
    if state.kill_switch is not None:
        yield f"the kill switch is on: {state.kill_switch.reason}"
    if dropped:
        yield f"not restored from the backup's control.json: {', '.join(dropped)}"
