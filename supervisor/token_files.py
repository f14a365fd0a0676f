"""Files that hold a token: where they are, read and written so that nobody else sees it. Blocks."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from domain.errors import PermanentError
from domain.token import MAX_CHARACTERS, clean_token
from venues.settings import VenueSettings

FOLDER = "tokens"  # in the state directory, mode 0700
READ_BYTES = 4 * MAX_CHARACTERS  # more is no token


class Stamp(NamedTuple):
    """What tells one content of a file from another without reading it."""

    inode: int
    size: int
    changed_ns: int
    modified_ns: int


def token_path(state_dir: Path, *, venue: str, settings: VenueSettings) -> Path:
    """Return where a venue's token is: as set, else in the state directory."""
    if settings.token_file is not None:
        return Path(settings.token_file).expanduser().absolute()
    return state_dir / FOLDER / venue


def refresh_path(state_dir: Path, *, venue: str) -> Path:
    """Return where a venue's refresh token is, if the user gave one."""
    return state_dir / FOLDER / f"{venue}.refresh"  # a venue's name has no dot


def make_folder(state_dir: Path) -> None:
    """Make the folder of tokens in the state directory, for its owner only. Raises OSError."""
    state_dir.mkdir(parents=True, exist_ok=True)
    folder = state_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)
    _give(folder, like=state_dir)


def stamp_of(path: Path) -> Stamp | None:
    """Return a file's stamp; None where there is no file that we could look at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)


def read_token(path: Path) -> str | None:
    """Return the token in a file; None where there is no file.

    Raises PermanentError that says what to do where it cannot be used: above all where others can
    read it. Such a file is left as it is.
    """
    try:
        # Not blocking: a pipe in its place must not stop everything.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise PermanentError(f"token file {path}: cannot be read: {exc.strerror}") from exc
    try:
        _check_private(path, mode=os.fstat(descriptor).st_mode)
        return clean_token(os.read(descriptor, READ_BYTES).decode())
    except OSError as exc:
        raise PermanentError(f"token file {path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise PermanentError(f"token file {path}: is not text") from None
    except ValueError as exc:
        raise PermanentError(f"token file {path}: {exc}") from exc
    finally:
        os.close(descriptor)


def _check_private(path: Path, *, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise PermanentError(f"token file {path}: is not a file")
    if mode & 0o077:
        raise PermanentError(
            f"token file {path}: mode {stat.S_IMODE(mode):04o} lets others read it; `chmod 600` it,"
            " and set a new token if somebody else may have read this one"
        )


def write_token(path: Path, token: str) -> None:
    """Put a token into a file of mode 0600, whole or not at all, for good.

    Run by root it belongs to whom the old file, else the folder, belongs to: the daemon is to read
    it. Raises OSError.
    """
    path = path.resolve()  # a link stays one
    folder = path.parent
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(descriptor)
        _give(Path(name), like=path if path.exists() else folder)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    _sync(folder)


def _give(path: Path, *, like: Path) -> None:
    """Make it belong to the owner of `like`, which only root can do and needs to."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
