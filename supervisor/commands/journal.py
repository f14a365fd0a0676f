"""`marketd journal verify`: looks the journal over, whether the daemon runs or not. Changes nothing."""

import argparse
import time
from pathlib import Path

from storage.journal_file import NAME
from storage.payloads import Lane
from storage.salvage import is_there
from storage.survey import Survey, survey
from supervisor.commands.progress import disk_errors
from supervisor.commands.where import state_dir_of

SOUND, DAMAGED = 0, 1
LOOKS = 3  # a daemon that is just writing leaves half a batch in the file for a moment
BETWEEN_LOOKS_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `marketd journal`."""
    parser.add_argument("action", choices=("verify",), help="read every batch and check it")


def run(arguments: argparse.Namespace) -> int:
    """Print what each lane holds and what is wrong; return 0 sound or not there, 1 damaged."""
    with disk_errors():
        return _verify(state_dir_of(arguments) / NAME)


def _verify(path: Path) -> int:
    for damaged in sorted(path.parent.glob(f"{NAME}.damaged-*[0-9]")):
        print(f"set aside: {damaged}, {_bytes(damaged):,} bytes")
    if not is_there(path):
        print(f"{path}: no journal is there")
        return SOUND
    found = _look(path)
    for lane in Lane:
        print(_describe(found, lane=lane))
    print(f"{path}: {_bytes(path):,} bytes, {'sound' if found.is_sound else 'DAMAGED'}")
    for complaint in found.complaints:
        print(f"  {complaint}")
    return SOUND if found.is_sound else DAMAGED


def _look(path: Path) -> Survey:
    found = survey(path)
    for _ in range(LOOKS - 1):
        if found.is_sound:
            break
        time.sleep(BETWEEN_LOOKS_S)
        found = survey(path)
    return found


def _describe(found: Survey, *, lane: Lane) -> str:
    journals = [
        f"{journal_id}: {found.first_number[journal_id, lane]} to {last}"
        for (journal_id, each), last in found.last_number.items()
        if each is lane
    ]
    counts = found.batches[lane], found.rows[lane], found.payload_bytes[lane]
    said = "{}: {:,} batches, {:,} rows, {:,} bytes".format(lane, *counts)
    return f"{said}; journal {'; '.join(journals)}" if journals else said


def _bytes(path: Path) -> int:
    """Return the size of the file and its log."""
    parts = (path, path.with_name(path.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())
