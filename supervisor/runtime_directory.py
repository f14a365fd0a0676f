"""What the service keeps in $RUNTIME_DIRECTORY, for whoever does not know its state directory."""

import logging
from collections.abc import Mapping
from pathlib import Path

from domain.events import Event, emit

SOCKET = "control.sock"


def show_socket(state_dir: Path, environment: Mapping[str, str]) -> None:
    """Link the control socket there, in the place of what an earlier run left.

    Nothing to do outside a service. The service manager removes it with the directory.
    """
    # systemd separates several directories by colons; the first is ours.
    folder = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder:
        return
    link = Path(folder) / SOCKET
    fresh = link.with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(state_dir / SOCKET)
        fresh.rename(link)
    except OSError as exc:
        emit(
            Event.CONTROL,
            f"{link} cannot be made: {exc.strerror or exc}; commands need --state-dir {state_dir}",
            level=logging.WARNING,
            actor="control",
        )
