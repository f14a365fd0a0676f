"""Whose the state directory is: a command that root gives writes there as the daemon's own user."""

import os
import pwd
from pathlib import Path

from domain.errors import ConfigError, PermanentError

ROOT = 0


def become_owner(state_dir: Path) -> None:
    """Go on as the state directory's owner, for good: what root writes there the daemon cannot use.

    Raises `PermanentError` where we are neither of the two.
    """
    if not state_dir.exists():
        return  # it will be ours
    owner, group = state_dir.stat().st_uid, state_dir.stat().st_gid
    if os.geteuid() == owner:
        return
    if os.geteuid() != ROOT:
        raise PermanentError(f"only root or the owner of {state_dir} (uid {owner}) may do this")
    try:
        os.initgroups(pwd.getpwuid(owner).pw_name, group)
    except KeyError:  # a user without a name
        os.setgroups([group])
    os.setgid(group)
    os.setuid(owner)


def refuse_to_be_root(state_dir: Path) -> None:
    """Raise ConfigError where root would run the daemon of somebody else, who cannot use what root leaves."""
    if os.geteuid() == ROOT and state_dir.exists() and (owner := state_dir.stat().st_uid) != ROOT:
        raise ConfigError(
            f"{state_dir} belongs to uid {owner}, whose daemon root must not run: `systemctl start marketd`,"
            " or name settings of your own with --config"
        )
