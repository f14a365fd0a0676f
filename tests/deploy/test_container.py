"""The container's files, which nothing here can run: held against the unit, the sources and the settings."""

import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml
from documents import Document

from storage.target import MysqlTarget, parse_target
from supervisor.settings import market_specs, read_settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/container"
SIZES = {"k": 2**10, "m": 2**20, "g": 2**30}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def dockerfile() -> str:
    return (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def copied() -> set[str]:
    """Return what the build takes from the clone."""
    copies = re.findall(r"^COPY (?!--from)(.+)", dockerfile(), flags=re.MULTILINE)
    return {source for line in copies for source in line.split()[:-1]}


def in_bytes(size: str) -> int:
    return int(size[:-1]) * SIZES[size[-1].lower()]


# --- its limits -------------------------------------------------------------------------------


def test_daemon_and_database_fit_a_server_of_1_gb_with_its_system() -> None:
    limits = [in_bytes(service["mem_limit"]) for service in compose()["services"].values()]
    assert sum(limits) <= 640 * 2**20


def test_every_log_is_bounded() -> None:
    for service in compose()["services"].values():
        options = service["logging"]["options"]
        assert in_bytes(options["max-size"]) * int(options["max-file"]) <= 64 * 2**20


# --- what it is made of -----------------------------------------------------------------------


def test_the_build_takes_every_package_and_only_what_is_there() -> None:
    setup_cfg = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    packages = re.search(r"^packages =\n((?:    .+\n)+)", setup_cfg, flags=re.MULTILINE)
    assert packages is not None
    rooms = {name.strip().partition(".")[0] for name in packages[1].splitlines()}
    assert rooms <= copied()
    assert all((ROOT / source).exists() for source in copied())


def test_nothing_else_of_the_clone_reaches_the_build() -> None:
    # Neither a settings file nor a secret: what is not copied is not even sent.
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied()


def test_the_daemon_is_not_root_and_can_write_only_its_state() -> None:
    service = compose()["services"]["marketd"]
    assert re.search(r"^USER 10001:10001$", dockerfile(), flags=re.MULTILINE)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    writable = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
    assert writable == ["state:/var/lib/marketd", "database-socket:/run/mysqld"]


def test_what_compose_names_is_there_or_made_by_prepare(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose()["volumes"] or (prepared / source).exists()
        for secret in service["secrets"]:
            assert (prepared / compose()["secrets"][secret]["file"]).exists()


# --- prepare.sh -------------------------------------------------------------------------------


def prepare(folder: Path) -> Path:
    """Run prepare.sh on a copy of the folder, with a careful umask; return the copy."""
    place = folder / "deploy/container"
    place.mkdir(parents=True, exist_ok=True)
    for file in (*FOLDER.iterdir(), *FOLDER.parent.iterdir()):
        if file.is_file():
            copy = folder / file.relative_to(ROOT)
            copy.write_bytes(file.read_bytes())
            copy.chmod(0o600)
    subprocess.run(["sh", place / "prepare.sh"], check=True, timeout=60, umask=0o077, capture_output=True)
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_for_the_containers_and_nobody_else_on_the_host(tmp_path: Path) -> None:
    place = prepare(tmp_path)
    assert mode(place / "secrets") == 0o700
    assert mode(place / "secrets/db-password") == 0o444  # each container has its own user
    passwords = [file.read_text() for file in (place / "secrets").iterdir()]
    assert len(set(passwords)) == 2
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in passwords)


def test_the_containers_users_can_read_what_is_theirs(tmp_path: Path) -> None:
    place = prepare(tmp_path)
    assert mode(place / "settings") & 0o005 == 0o005
    assert mode(place / "settings/marketd.toml") & 0o004
    assert mode(place.parent / "60-marketd.cnf") & 0o004
    assert mode(place / "health.sh") & 0o005 == 0o005


def test_a_second_prepare_changes_nothing(tmp_path: Path) -> None:
    place = prepare(tmp_path)
    (place / "settings/marketd.toml").write_text("# mine\n")
    before = {file: file.read_text() for file in place.rglob("*") if file.is_file()}
    prepare(tmp_path)
    assert {file: file.read_text() for file in place.rglob("*") if file.is_file()} == before


def test_no_guide_gives_a_signal_that_ends_the_restarts() -> None:
    # Docker takes any signal of its own `kill` for a stop by hand: moby issues 41302 and 47792, still open
    for name in ("guide.md", "guide.id.md"):
        spans = Document(ROOT / "docs" / name).spans
        signals = [span for span in spans if span.startswith("docker") and "kill -" in span]
        assert signals == ["docker compose exec marketd sh -c 'kill -HUP 1'"]


def test_the_example_settings_are_good_and_use_the_secret(tmp_path: Path) -> None:
    secrets = prepare(tmp_path) / "secrets"
    settings = read_settings(tomllib.loads((FOLDER / "settings.example.toml").read_text(encoding="utf-8")))
    assert len(market_specs(settings)) == 27
    environment = {"CREDENTIALS_DIRECTORY": str(secrets)}
    target = parse_target(settings.storage, state_dir=tmp_path, environment=environment)
    assert isinstance(target, MysqlTarget)
    assert target.password == (secrets / "db-password").read_text()
    assert "CREDENTIALS_DIRECTORY=/run/secrets" in dockerfile()
