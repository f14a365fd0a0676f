"""Looks at SQLite's write-ahead log from outside, for commits that SQLite passes over in silence.

SQLite ends its log at the first frame whose checksum is wrong; what comes after it was accepted
all the same. (SQLite's "file format", section 4, and "WAL-mode file format".)
"""

import struct
from pathlib import Path

import attrs

HEADER = struct.Struct(">8I")  # magic, version, page size, count, salt-1, salt-2, two checksums
FRAME = struct.Struct(">6I")  # page, size after a commit (else 0), salt-1, salt-2, two checksums
INDEX_HEADER_BYTES = 48  # stands there twice
INDEX_HEADER = struct.Struct("=16xI12x8s8x")  # frames that are valid, the salts as the log has them

Sums = tuple[int, int]


@attrs.frozen(kw_only=True)
class LogIndex:
    """What the index beside a log says of it."""

    frames: int = 0
    salts: bytes = b""


def read_index(path: Path) -> LogIndex:
    """Return what stands in the index of a database's log; nothing where it cannot be trusted."""
    shm = path.with_name(path.name + "-shm")
    content = shm.read_bytes()[: 2 * INDEX_HEADER_BYTES] if shm.exists() else b""
    first, second = content[:INDEX_HEADER_BYTES], content[INDEX_HEADER_BYTES:]
    if len(first) < INDEX_HEADER_BYTES or first != second:
        return LogIndex()
    frames, salts = INDEX_HEADER.unpack(first)
    return LogIndex(frames=frames, salts=salts)


def lost_commits(path: Path, *, page_size: int, left: LogIndex) -> list[str]:
    """Return what is wrong with a database's log, while the database is open.

    `left` is its index as it was before the database was opened: a killed process leaves it, and
    by it a log that was cut short is told. Without it such a log looks as if no more had been
    appended.
    """
    wal = path.with_name(path.name + "-wal")
    content = wal.read_bytes() if wal.exists() else b""
    log = _Log(content=content, page_size=page_size)
    complaints = []
    if left.frames > len(log.frames) and (len(log.salts) < len(left.salts) or log.salts == left.salts):
        complaints.append(f"{wal.name}: cut short: {len(log.frames)} of {left.frames} frames are there")
    valid = read_index(path).frames
    damaged = log.damaged_after(valid)
    # SQLite writes a frame's head and its page apart: a kill between the two leaves a head with an older
    # page. Where the index it left knows of no commit there, it was under way, and is no loss.
    is_cut_off = damaged == 1 and left == LogIndex(frames=valid, salts=log.salts)
    if damaged and not is_cut_off:
        complaints.append(f"{wal.name}: {damaged} frames after frame {valid} are damaged or behind damage")
    return complaints


class _Log:
    """A log's bytes, frame by frame."""

    def __init__(self, *, content: bytes, page_size: int) -> None:
        self._content = content
        self._step = FRAME.size + page_size
        self._starts = range(HEADER.size, len(content) - self._step + 1, self._step)
        self.frames = [FRAME.unpack_from(content, start) for start in self._starts]
        self.salts = content[16:24]

    def damaged_after(self, valid: int) -> int:
        """Return how many frames of the log's newest generation follow on the first damaged one."""
        if not self.frames:
            return 0
        magic, _, _, _, *salts, sum_1, sum_2 = HEADER.unpack_from(self._content)
        self._words = "<" if magic & 1 == 0 else ">"
        sums = self._sums(self._content[:24], (0, 0))
        if sums != (sum_1, sum_2):
            # Without its header nothing of it is valid. Was anything committed in it?
            newest = self.frames[0][2:4]
            return sum(frame[1] > 0 and frame[2:4] == newest for frame in self.frames)
        if valid:
            sums = self.frames[valid - 1][4:6]
        for n in range(valid, len(self.frames)):  # what a killed transaction left is sound, and no loss
            start = self._starts[n]
            body = self._content[start : start + 8], self._content[start + FRAME.size : start + self._step]
            sums = self._sums(body[1], self._sums(body[0], sums))
            if self.frames[n][2:] != (*salts, *sums):
                # Older generations lie behind: none of their salts is ours. Damage leaves one of two.
                return sum(f[2] == salts[0] or f[3] == salts[1] for f in self.frames[n:])
        return 0

    def _sums(self, content: bytes, before: Sums) -> Sums:
        sum_1, sum_2 = before
        for first, second in struct.iter_unpack(self._words + "2I", content):
            sum_1 = (sum_1 + first + sum_2) & 0xFFFFFFFF
            sum_2 = (sum_2 + second + sum_1) & 0xFFFFFFFF
        return sum_1, sum_2
