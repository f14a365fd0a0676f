"""Tells the service manager how we are: one datagram to $NOTIFY_SOCKET (sd_notify(3))."""

import contextlib
import os
import socket
import time

import attrs


@attrs.define(kw_only=True, eq=False)
class Notifier:
    """Says nothing where nobody asked. Never blocks, never raises: a lost datagram is lost."""

    address: str
    watchdog_s: float | None  # ping at half of it; None where no watchdog was asked of us

    def ready(self, status: str) -> None:
        """We are ready: settings valid, directory locked, control answering, gate running."""
        self._send("READY=1", status)

    def status(self, status: str) -> None:
        """One line for people, shown by `systemctl status`."""
        self._send(status=status)

    def reloading(self) -> None:
        """The settings are being read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self, status: str) -> None:
        """An ordered stop has begun."""
        self._send("STOPPING=1", status)

    def alive(self) -> None:
        """The watchdog's ping."""
        self._send("WATCHDOG=1")

    def extend_start(self, seconds: float) -> None:
        """Starting takes longer than planned."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, text: str = "", status: str = "") -> None:
        if not self.address:
            return
        if status:  # a line break in it (the words of a database, say) would begin another assignment
            text = f"{text}\nSTATUS={' '.join(status.split())}".lstrip()
        # An abstract socket's name begins with a null byte, written @ in the environment.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            with contextlib.suppress(OSError):  # nobody is listening: nothing of ours may depend on it
                sender.sendto(text.encode(errors="replace"), address)


def from_environment() -> Notifier:
    """Return the notifier for this process's service manager."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    watchdog_s = int(microseconds) / 1_000_000 if microseconds.isdecimal() and is_ours else None
    return Notifier(address=os.environ.get("NOTIFY_SOCKET", ""), watchdog_s=watchdog_s or None)
