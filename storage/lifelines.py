"""Second ends of the database's sockets, by which another thread can cut them."""

import contextlib
import socket
import threading

from domain.errors import StorageBusy


class Lifelines:
    """Every socket under way or open, as a duplicate of our own.

    A duplicate, because PyMySQL keeps its socket to itself until it is connected, and TLS takes
    the original over: shutting down any duplicate ends the one connection that all of them share.
    The lock is never held while anything waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._is_cut = False

    def tie(self, sock: socket.socket) -> socket.socket:
        """Return the second end of a socket that is about to connect; the caller unties it.

        Raises `StorageBusy` after `cut()`.
        """
        with self._lock:
            self._check()
            end = sock.dup()
            self._ends.add(end)
            return end

    def untie(self, end: socket.socket) -> None:
        """Close a second end. Until then the server does not see the connection closed."""
        with self._lock:
            self._ends.discard(end)
        end.close()

    def check(self) -> None:
        """Raise `StorageBusy` after `cut()`: shutting down an unconnected socket does not last."""
        with self._lock:
            self._check()

    def sever(self) -> None:
        """Shut every socket down: whoever waits on one is told at once, and nothing can wait again."""
        with self._lock:
            self._shut_down()

    def cut(self) -> None:
        """Shut every socket down, and let no new one be tied."""
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def _check(self) -> None:
        if self._is_cut:
            raise StorageBusy("stopping: no connection is begun any more")

    def _shut_down(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):  # not connected, or no longer
                end.shutdown(socket.SHUT_RDWR)
