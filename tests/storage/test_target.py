from pathlib import Path

import pytest

from domain.errors import ConfigError
from storage.settings import StorageSettings
from storage.target import MysqlTarget, SqliteTarget, Target, parse_target

STATE_DIR = Path("/state")


def parsed(url: str | None, *, password_file: Path | None = None) -> Target:
    settings = StorageSettings(url=url, password_file=None if password_file is None else str(password_file))
    return parse_target(settings, state_dir=STATE_DIR, environment={})


def secret_file(folder: Path, *, mode: int = 0o600) -> Path:
    file = folder / "password"
    file.touch(mode=0o600)
    file.write_text("s3cret\n")
    file.chmod(mode)
    return file


def test_without_a_url_it_is_a_file_in_the_state_directory() -> None:
    assert parsed(None) == SqliteTarget(path=Path("/state/marketd.db"))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/prices.db", "/var/lib/prices.db"),
        ("sqlite:////var/lib/prices.db", "/var/lib/prices.db"),
        ("sqlite:prices.db", "/state/prices.db"),
        ("sqlite:///with%20space.db", "/with space.db"),
    ],
)
def test_a_sqlite_url_is_a_path(url: str, path: str) -> None:
    assert parsed(url) == SqliteTarget(path=Path(path))


def test_what_a_sqlite_target_says_of_itself_can_be_given_as_url() -> None:
    target = parsed("sqlite:///var/lib/prices.db")
    assert parsed(str(target)) == target


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_mysql_url_names_host_port_user_and_database(scheme: str) -> None:
    assert parsed(f"{scheme}://bot@db.example:3307/prices") == MysqlTarget(
        host="db.example", port=3307, unix_socket=None, user="bot", database="prices", password=""
    )


def test_a_mysql_url_may_name_a_unix_socket() -> None:
    target = parsed("mysql://bot@localhost/prices?unix_socket=/run/mysqld/mysqld.sock")
    assert isinstance(target, MysqlTarget)
    assert target.unix_socket == "/run/mysqld/mysqld.sock"
    assert target.port == 3306


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgres://u@h/d", "expected sqlite:///PATH or mysql://"),
        ("prices.db", "expected sqlite:///PATH or mysql://"),
        ("sqlite://host/x.db", "a file has no host"),
        ("sqlite:///", "path of the file is missing"),
        ("sqlite:///x.db?mode=ro", "takes no options"),
        ("mysql://h/d", "user is missing"),
        ("mysql://u@h", "database's name is missing"),
        ("mysql://u@h/a/b", "database's name is missing"),
        ("mysql://u@h:99999/d", "port is not a number"),
        ("mysql://u@h/d?ssl=1", "unknown option 'ssl'"),
        ("mysql://u@h/d?unix_socket=", "unix_socket is empty"),
        ("mysql://u@[::1/d", "Invalid IPv6"),
    ],
)
def test_a_wrong_url_is_refused_naming_key_and_value(url: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(url)
    assert fault in str(caught.value)
    assert str(caught.value).startswith("[storage] url = '" + url.partition("=")[0])


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:s3cret@h/d",
        "mysql://u:s3cret@h",
        "mysql://u:s3/cret@h/d",
        "mysql://u:s3#cret@h/d",
        "mysql://u:s3@cret@h/d",
        "mysql://u:@h:1:s3cret@h/d",
        "mysql://u@h/d?password=s3cret",
        "nonsense://u:s3cret@h/d",
    ],
)
def test_a_password_in_the_url_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(url)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value).replace("secret", "")


def test_the_password_comes_from_its_file_and_is_not_in_the_repr(tmp_path: Path) -> None:
    target = parsed("mysql://u@h/d", password_file=secret_file(tmp_path))
    assert isinstance(target, MysqlTarget)
    assert target.password == "s3cret"
    assert "s3cret" not in repr(target) + str(target)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602])
def test_a_password_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    file = secret_file(tmp_path, mode=mode)
    with pytest.raises(ConfigError, match=f"{file}.*mode {mode:04o}"):
        parsed("mysql://u@h/d", password_file=file)


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"password_file = .*/gone.*No such file"):
        parsed("mysql://u@h/d", password_file=tmp_path / "gone")


def test_the_service_managers_credential_is_used_where_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "db-password").write_text("from the manager\n")
    target = parse_target(
        StorageSettings(url="mysql://u@h/d"),
        state_dir=STATE_DIR,
        environment={"CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    assert isinstance(target, MysqlTarget)
    assert target.password == "from the manager"


def test_a_named_file_goes_before_the_service_managers_credential(tmp_path: Path) -> None:
    (tmp_path / "db-password").write_text("from the manager\n")
    target = parse_target(
        StorageSettings(url="mysql://u@h/d", password_file=str(secret_file(tmp_path))),
        state_dir=STATE_DIR,
        environment={"CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    assert isinstance(target, MysqlTarget)
    assert target.password == "s3cret"
