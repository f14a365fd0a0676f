"""Which database, read from `[storage]`: the url, the file with the password, nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import attrs

from domain.errors import ConfigError
from storage.settings import StorageSettings

DEFAULT_FILE = "marketd.db"  # in the state directory
DEFAULT_PORT = 3306  # MySQL's and MariaDB's registered port
CREDENTIAL = "db-password"  # LoadCredential= of the service file


@attrs.frozen(kw_only=True)
class SqliteTarget:
    """A file on this machine."""

    path: Path

    def __str__(self) -> str:
        return f"sqlite://{self.path}"


@attrs.frozen(kw_only=True)
class MysqlTarget:
    """A MySQL or MariaDB server; with `unix_socket`, host and port only stand in messages."""

    host: str
    port: int
    unix_socket: str | None
    user: str
    database: str
    password: str = attrs.field(repr=False)

    def __str__(self) -> str:
        where = self.unix_socket or f"{self.host}:{self.port}"
        return f"mysql://{self.user}@{where}/{self.database}"


Target = SqliteTarget | MysqlTarget


def parse_target(settings: StorageSettings, *, state_dir: Path, environment: Mapping[str, str]) -> Target:
    """Return the database that the settings name.

    A relative SQLite path is relative to `state_dir`. Of `environment` only
    `CREDENTIALS_DIRECTORY` is read. Raises `ConfigError` naming key and value, never a password.
    """
    url = settings.url
    if url is None:
        return SqliteTarget(path=state_dir / DEFAULT_FILE)
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ConfigError(f"[storage] url = {redact(url)!r}: {exc}") from None
    if parts.scheme == "sqlite":
        return _sqlite_target(parts, url=url, state_dir=state_dir)
    if parts.scheme in ("mysql", "mariadb"):
        return _mysql_target(parts, url=url, password=_password(settings, environment=environment))
    raise _refusal(url, "expected sqlite:///PATH or mysql://USER@HOST[:PORT]/NAME")


def redact(url: str) -> str:
    """Return the url without what may be a secret: a password, and the query's values."""
    shown = re.sub(r"(://[^/@:]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"=[^&]*", "=…", shown)


def _sqlite_target(parts: SplitResult, *, url: str, state_dir: Path) -> SqliteTarget:
    path = unquote(parts.path)
    if parts.netloc:
        raise _refusal(url, "a file has no host: write sqlite:///PATH, with three slashes")
    if parts.query or parts.fragment:
        raise _refusal(url, "a file takes no options")
    if path.strip("/") == "" or "\0" in path:
        raise _refusal(url, "the path of the file is missing")
    if path.startswith("//"):  # some write the absolute path with four slashes
        path = "/" + path.lstrip("/")
    return SqliteTarget(path=state_dir / path)


def _mysql_target(parts: SplitResult, *, url: str, password: str) -> MysqlTarget:
    if parts.password is not None:
        raise _refusal(
            url, "a password does not belong into the url: put it into a file, named by password_file"
        )
    if not parts.username:
        raise _refusal(url, "the user is missing: mysql://USER@HOST/NAME")
    database = unquote(parts.path.removeprefix("/"))
    if database == "" or "/" in database:
        raise _refusal(url, "the database's name is missing: mysql://USER@HOST/NAME")
    unix_socket = _unix_socket(parts, url=url)
    return MysqlTarget(
        host=parts.hostname or "localhost",
        port=_port(parts, url=url),
        unix_socket=unix_socket,
        user=unquote(parts.username),
        database=database,
        password=password,
    )


def _port(parts: SplitResult, *, url: str) -> int:
    try:
        return parts.port or DEFAULT_PORT
    except ValueError:
        # Not the parser's own words: they repeat what follows the colon, maybe a password.
        raise _refusal(url, "the port is not a number up to 65535") from None


def _unix_socket(parts: SplitResult, *, url: str) -> str | None:
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(options.keys() - {"unix_socket"})
    if unknown:
        raise _refusal(url, f"unknown option {unknown[0]!r}: only unix_socket is known")
    if parts.fragment:
        raise _refusal(url, "nothing may follow a #")
    path = options.get("unix_socket", [None])[-1]
    if path == "":
        raise _refusal(url, "unix_socket is empty")
    return path


def _password(settings: StorageSettings, *, environment: Mapping[str, str]) -> str:
    if settings.password_file is not None:
        file = Path(settings.password_file)
        try:
            mode = file.stat().st_mode & 0o777
        except OSError as exc:
            raise ConfigError(f"[storage] password_file = {str(file)!r}: {exc.strerror}") from exc
        if mode & 0o077:
            raise ConfigError(
                f"[storage] password_file = {str(file)!r}: mode {mode:04o} lets others read it; chmod 600 it"
            )
        return _read_password(file, key="password_file")
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if directory is not None and (Path(directory) / CREDENTIAL).exists():
        # No look at its mode: systemd guards the directory, and shows an ACL as group bits.
        return _read_password(Path(directory) / CREDENTIAL, key="$CREDENTIALS_DIRECTORY")
    return ""  # the server knows us by the unix socket's user, or asks for none


def _read_password(file: Path, *, key: str) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as exc:
        raise ConfigError(f"[storage] {key} = {str(file)!r}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise ConfigError(f"[storage] {key} = {str(file)!r}: is not text in UTF-8") from None


def _refusal(url: str, reason: str) -> ConfigError:
    return ConfigError(f"[storage] url = {redact(url)!r}: {reason}")
