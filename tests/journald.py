"""A real systemd-journald for tests, in a mount namespace of its own: nothing of the host changes.

Needs root, or user namespaces. Without a systemd its queue holds 10 entries (net.unix.max_dgram_qlen),
where it holds 512 on a server: harder for who writes.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from daemons import WITHIN_S, wait_until

JOURNALD = Path("/lib/systemd/systemd-journald")
# A file system for /run with a socket's folder, a journal's, and journald.conf. `$1` is a machine id.
NAMESPACE = """
mount -t tmpfs -o mode=0755,size=512m tmpfs /run
mkdir -p /run/systemd/journal "/run/log/journal/$1"
echo "$1" > /run/machine-id
mount --bind /run/machine-id /etc/machine-id
cat > /run/journald.conf <<'END'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToWall=no
RuntimeMaxUse=256M
RuntimeMaxFileSize=128M
END
mount --bind /run/journald.conf /etc/systemd/journald.conf
echo ready
exec sleep infinity
"""
MACHINE_ID = "5d4f2c0a9be84f7fa5a1c3b6e7d80912"

Entry = dict[str, Any]


class Journald:
    """journald, which may be stopped, killed and started, and what it has written."""

    def __init__(self, namespace: "subprocess.Popen[str]", enter: Sequence[str], *, log: Path) -> None:
        self._namespace = namespace
        self._enter = enter
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = f"/proc/{namespace.pid}/root/run/systemd/journal/socket"

    def start(self) -> None:
        """Start journald; return when it takes entries."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.inside(JOURNALD), stdout=log, stderr=log)
        wait_until(self._is_listening, what="journald listens")

    def kill(self) -> None:
        """Kill it; its socket stays, and nobody listens."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it where it stands: its queue fills, and nothing more is taken."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def entries(self, *matches: str) -> list[Entry]:
        """Return what it has written, in its order; `matches` such as `EVENT=log` narrow it down."""
        subprocess.run(self.inside("journalctl", "--sync"), check=True, timeout=WITHIN_S)
        found = subprocess.run(
            self.inside("journalctl", "--output=json", "--all", "--quiet", *matches),
            capture_output=True, check=True, timeout=WITHIN_S,
        )  # fmt: skip
        return [json.loads(line) for line in found.stdout.splitlines()]

    def inside(self, *command: str | Path) -> list[str | Path]:
        """Return the command line that runs this where journald is."""
        return [*self._enter, *command]

    def service(self, *command: str | Path) -> list[str | Path]:
        """Return the command line that runs this with the journal as its standard error, as systemd does."""
        script = 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"'
        return self.inside("systemd-cat", "--identifier=marketd", "sh", "-c", script, "sh", *command)

    def close(self) -> None:
        """End it, and all that was mounted for it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._namespace.kill()
        self._namespace.wait()

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            try:
                client.connect(self.socket)
            except OSError:
                return False
        return True


@contextlib.contextmanager
def running_journald(folder: Path) -> Iterator[Journald]:
    """Run a journald of the test's own; skip the test where that cannot be, unless it is CI's."""
    flags = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    enter = ["--user", "--preserve-credentials"] if flags else []
    if not JOURNALD.exists() or shutil.which("unshare") is None:
        _cannot("systemd-journald and unshare are not installed")
    namespace = subprocess.Popen(
        ["unshare", *flags, "--mount", "--propagation=private", "sh", "-euc", NAMESPACE, "sh", MACHINE_ID],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert namespace.stdout is not None
    assert namespace.stderr is not None
    with namespace.stdout, namespace.stderr:
        if namespace.stdout.readline() != "ready\n":
            _cannot(f"no namespace of its own for journald: {namespace.stderr.read()}")
        target = ["nsenter", f"--target={namespace.pid}", *enter, "--mount", "--wd=."]
        journald = Journald(namespace, target, log=folder / "journald.log")
        try:
            journald.start()
            yield journald
        finally:
            journald.close()


def _cannot(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
