"""The log in systemd's journal, by its native protocol: an entry is a datagram of fields.

Protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/, seen 2026-11. The log's thread sends, so a send may
wait until journald takes it: a burst that overflows journald's queue (10 entries, or 512 under systemd)
waits in the backlog and loses nothing. The kernel waits, at most half a second, because poll(2) does not
tell of another's queue. Each send names the socket, so that a journald that was started anew is found.
"""

import contextlib
import errno
import fcntl
import functools
import logging
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping

from domain.clock import as_text
from domain.events import Event
from supervisor.log_lines import as_utf8, fields_of, priority_of

ADDRESS = "/run/systemd/journal/socket"
IDENTIFIER = "marketd"
WAIT_S = 0.5
TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)  # for a datagram
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

# Names that mean something to journald (systemd.journal-fields(7)) or are written by us below.
TAKEN = re.compile(
    r"(MESSAGE|MESSAGE_ID|PRIORITY|TIME|ERRNO|TID|DOCUMENTATION|(USER_)?(UNIT|INVOCATION_ID)"
    r"|(CODE|SYSLOG|OBJECT|COREDUMP)_.*|[0-9].*|)$"
)
LONGEST_NAME = 64


def is_stderr_the_journal(environment: Mapping[str, str]) -> bool:
    """Return whether our standard error is a stream to journald (systemd.exec(5), $JOURNAL_STREAM)."""
    with contextlib.suppress(OSError):  # standard error may be closed
        found = os.fstat(2)
        return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


class JournalOutput:
    """Entries to journald."""

    def __init__(self, address: str = ADDRESS) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        wait = struct.pack("@ll", 0, int(WAIT_S * 1_000_000))  # struct timeval
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)

    def render(self, record: logging.LogRecord) -> bytes:
        """Return the datagram of a record."""
        return b"".join(_as_bytes(name, value) for name, value in _journal_fields(record))

    def write(self, entry: bytes) -> bool:
        """Send it; return whether journald took it. It does not while it is stopped, full or gone."""
        try:
            self._socket.sendto(entry, self._address)
        except OSError as exc:
            return exc.errno in TOO_LARGE and self._send_as_file(entry)
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_as_file(self, entry: bytes) -> bool:
        """Hand over a sealed file in memory, as journald wants large entries."""
        try:
            file = os.memfd_create("marketd-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            with os.fdopen(file, "wb") as stream:
                stream.write(entry)
                stream.flush()
                fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
                # socket.send_fds() of Python 3.11 forgets the address
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("@i", file))
                self._socket.sendmsg([], [rights], 0, self._address)
        except OSError:
            return False
        return True


def _journal_fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    event = getattr(record, "event", Event.LOG)
    yield "MESSAGE", record.getMessage()
    yield "MESSAGE_ID", event.message_id
    yield "PRIORITY", priority_of(record.levelno)
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "TIME", as_text(int(record.created * 1_000_000))  # an entry may have waited for journald
    for name, value in fields_of(record).items():
        yield journal_name(name), value


@functools.cache
def journal_name(name: str) -> str:
    """Return a field's name in the journal, with a prefix where it would mean something else there."""
    upper = re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_")
    return (f"MARKETD_{upper}" if TAKEN.match(upper) else upper)[:LONGEST_NAME]


def _as_bytes(name: str, value: object) -> bytes:
    data = as_utf8(str(value))
    if b"\n" in data:
        return b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(data)), data)
    return b"%b=%b\n" % (name.encode(), data)
