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
    named = _Url(key="[storage] url", text=url)
    if parts.scheme == "sqlite":
        return _sqlite_target(parts, url=named, state_dir=state_dir)
    if parts.scheme in ("mysql", "mariadb"):
        if parts.password is not None:
            raise named.refusal(
                "a password does not belong into the url: put it into a file, named by password_file"
            )
        return _mysql_target(parts, url=named, password=_password(settings, environment=environment))
    raise named.refusal("expected sqlite:///PATH or mysql://USER@HOST[:PORT]/NAME")


def parse_source(url: str, *, key: str, password: str | None) -> MysqlTarget:
    """Return the database of somebody else that a command line names; its url may hold a password.

    `key` is how messages call the url, `password` the one that was given apart from it, None where none
    was. Raises `ConfigError` naming key and value, never a password.
    """
    named = _Url(key=key, text=url)
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise named.refusal(str(exc)) from None
    if parts.scheme not in ("mysql", "mariadb"):
        raise named.refusal("expected mysql://USER[:PASSWORD]@HOST[:PORT]/NAME")
    if parts.password is not None and password is not None:
        raise named.refusal("it has a password, and another one was given beside it")
    return _mysql_target(parts, url=named, password=password or unquote(parts.password or ""))


@attrs.frozen(kw_only=True)
class _Url:
    """An url with the name of what it was given by."""

    key: str
    text: str

    def refusal(self, reason: str) -> ConfigError:
        """Return the error that says what is wrong with it."""
        return ConfigError(f"{self.key} = {redact(self.text)!r}: {reason}")


def redact(url: str) -> str:
    """Return the url without what may be a secret: a password, and the query's values."""
    shown = re.sub(r"(://[^/@:]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"=[^&]*", "=…", shown)


def _sqlite_target(parts: SplitResult, *, url: _Url, state_dir: Path) -> SqliteTarget:
    path = unquote(parts.path)
    if parts.netloc:
        raise url.refusal("a file has no host: write sqlite:///PATH, with three slashes")
    if parts.query or parts.fragment:
        raise url.refusal("a file takes no options")
    if path.strip("/") == "" or "\0" in path:
        raise url.refusal("the path of the file is missing")
    if path.startswith("//"):  # some write the absolute path with four slashes
        path = "/" + path.lstrip("/")
    return SqliteTarget(path=state_dir / path)


def _mysql_target(parts: SplitResult, *, url: _Url, password: str) -> MysqlTarget:
    if not parts.username:
        raise url.refusal("the user is missing: mysql://USER@HOST/NAME")
    database = unquote(parts.path.removeprefix("/"))
    if database == "" or "/" in database:
        raise url.refusal("the database's name is missing: mysql://USER@HOST/NAME")
    unix_socket = _unix_socket(parts, url=url)
    return MysqlTarget(
        host=parts.hostname or "localhost",
        port=_port(parts, url=url),
        unix_socket=unix_socket,
        user=unquote(parts.username),
        database=database,
        password=password,
    )


def _port(parts: SplitResult, *, url: _Url) -> int:
    try:
        return parts.port or DEFAULT_PORT
    except ValueError:
        # Not the parser's own words: they repeat what follows the colon, maybe a password.
        raise url.refusal("the port is not a number up to 65535") from None


def _unix_socket(parts: SplitResult, *, url: _Url) -> str | None:
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(options.keys() - {"unix_socket"})
    if unknown:
        raise url.refusal(f"unknown option {unknown[0]!r}: only unix_socket is known")
    if parts.fragment:
        raise url.refusal("nothing may follow a #")
    path = options.get("unix_socket", [None])[-1]
    if path == "":
        raise url.refusal("unix_socket is empty")
    return path


def _password(settings: StorageSettings, *, environment: Mapping[str, str]) -> str:
    if settings.password_file is not None:
        return read_password(Path(settings.password_file), key="[storage] password_file")
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if directory is not None and (Path(directory) / CREDENTIAL).exists():
        # No look at its mode: systemd guards the directory, and shows an ACL as group bits.
        return _read_text(Path(directory) / CREDENTIAL, key="[storage] $CREDENTIALS_DIRECTORY")
    return ""  # the server knows us by the unix socket's user, or asks for none


def read_password(file: Path, *, key: str) -> str:
    """Return the password in a file that nobody else may read; `key` is what names the file."""
    try:
        mode = file.stat().st_mode & 0o777
    except OSError as exc:
        raise ConfigError(f"{key} = {str(file)!r}: {exc.strerror}") from exc
    if mode & 0o077:
        raise ConfigError(f"{key} = {str(file)!r}: mode {mode:04o} lets others read it; chmod 600 it")
    return _read_text(file, key=key)


def _read_text(file: Path, *, key: str) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as exc:
        raise ConfigError(f"{key} = {str(file)!r}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise ConfigError(f"{key} = {str(file)!r}: is not text in UTF-8") from None
