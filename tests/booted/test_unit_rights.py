"""Who may do what with the service: its sandbox, its secrets, its control socket."""

import json
import re

import pytest
from service import CONFIG, STATE_DIR, Service

UNIT = "/etc/systemd/system/marketd.service"
TOKEN = "t0ken-of-the-account"
MOST_EXPOSED = 2.0

# MySQL 8's caching_sha2_password without TLS: the one thing that loads `cryptography`.
ENCRYPTS = """
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from storage.light_pymysql import pymysql
import sys
public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
pem = public.public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
assert len(sys.modules["pymysql._auth"].sha2_rsa_encrypt(b"password", b"salt" * 5, pem)) == 256
"""


def as_user(service: Service, user: str, *words: str) -> "tuple[int, str]":
    """Run a command in the machine as a user; return its exit code and what it said."""
    done = service.machine.run(
        "setpriv", "--reuid", user, "--regid", user, "--init-groups", "--", *words, check=False
    )
    return done.returncode, done.stdout + done.stderr


# --- the sandbox ------------------------------------------------------------------------------


def test_verify_has_nothing_to_say(service: Service) -> None:
    done = service.machine.run("systemd-analyze", "verify", UNIT)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("words", [("marketd",), ("--offline=true", UNIT)], ids=["running", "offline"])
def test_exposure_is_low(service: Service, words: "tuple[str, ...]") -> None:
    if words == ("marketd",):
        service.start()
    said = service.machine.run("systemd-analyze", "security", *words).stdout
    found = re.search(r"Overall exposure level for marketd.service: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSED


def test_what_only_mysql_needs_works_in_the_sandbox(service: Service) -> None:
    service.start_with(ENCRYPTS)
    assert service.show("NRestarts") == "0"


def test_a_socket_for_each_of_a_thousand_markets_fits(service: Service) -> None:
    service.start()
    limits = service.machine.said("cat", f"/proc/{service.pid}/limits")
    found = re.search(r"Max open files +(\d+) +(\d+)", limits)
    assert found is not None
    assert int(found[1]) > 2 * 1_000  # one that takes over from another stands beside it
    assert service.status()["process"]["fds"] < 100


def test_the_service_may_write_its_own_two_folders_and_nothing_else(service: Service) -> None:
    service.start_with(
        "import os\n"
        "for folder in ('/etc/marketd', '/opt/marketd', '/var/lib', '/run', '/root', '/home/rita'):\n"
        "    try:\n"
        "        open(os.path.join(folder, 'written'), 'w')\n"
        "    except OSError:\n"
        "        continue\n"
        "    raise SystemExit('could write ' + folder)\n"
        "for folder in (os.environ['STATE_DIRECTORY'], os.environ['RUNTIME_DIRECTORY']):\n"
        "    open(os.path.join(folder, 'written'), 'w').close()\n"
    )
    assert service.machine.path(f"{STATE_DIR}/written").exists()


# --- secrets ----------------------------------------------------------------------------------


def test_secrets_are_read_by_nobody_else(service: Service) -> None:
    service.configure(protocol="olymptrade", source="quotes")
    service.start()
    service.machine.run("marketd", "token", "set", "sim", text=f"{TOKEN}\n")
    service.wait_until(lambda status: status["writer"]["db"] == "up", what="the password works")
    secrets = [
        "/etc/marketd/db-password",
        "/run/credentials/marketd.service/db-password",
        f"/proc/{service.pid}/environ",
        *service.machine.said("find", f"{STATE_DIR}/tokens", "-type", "f").split(),
    ]
    assert len(secrets) > 3
    for secret in secrets:
        assert as_user(service, "root", "cat", secret)[0] == 0, secret
        for user in ("rita", "stranger"):
            code, said = as_user(service, user, "cat", secret)
            assert (code, "Permission denied" in said) == (1, True), f"{user} reads {secret}"
    for own in (CONFIG, f"{STATE_DIR}/journal.db", f"{STATE_DIR}/marketd.lock", f"{STATE_DIR}/control.json"):
        assert as_user(service, "rita", "cat", own)[0] == 0, own  # a member of the group may know
        assert "Permission denied" in as_user(service, "stranger", "cat", own)[1], own


def test_secrets_stand_nowhere_else(service: Service) -> None:
    service.configure(protocol="olymptrade", source="quotes", log_level="debug")
    service.start()
    service.machine.run("marketd", "token", "set", "sim", text=f"{TOKEN}\n")
    service.wait_until(lambda status: status["writer"]["db"] == "up", what="the password works")
    service.kill("SIGUSR1")
    service.wait_said("sim/1 ")
    password = service.password()
    assert len(password) > 10
    seen = [
        json.dumps(service.status()),
        json.dumps(service.entries()),
        service.show("StatusText"),
        service.machine.said("cat", f"/proc/{service.pid}/cmdline", f"/proc/{service.pid}/environ"),
        service.machine.said("systemctl", "show", "marketd"),
    ]
    for text in seen:
        assert password not in text
        assert TOKEN not in text


def test_who_has_taken_over_the_service_gains_nothing_by_a_token_that_root_stores(service: Service) -> None:
    service.configure(protocol="olymptrade", source="quotes")
    service.start()
    etc = service.machine.said("stat", "--format=%U %a", "/etc")
    for link, target in (("tokens", "/etc"), ("tokens/sim", "/etc/shadow")):
        folder = f"{STATE_DIR}/{link}".rpartition("/")[0]
        prepare = f"rm -rf {STATE_DIR}/tokens; mkdir -p -m 0700 {folder}; ln -s {target} {STATE_DIR}/{link}"
        assert as_user(service, "marketd", "sh", "-euc", prepare) == (0, "")
        shadow = service.machine.said("sha256sum", "/etc/shadow")
        done = service.machine.run("marketd", "token", "set", "sim", text=f"{TOKEN}\n", check=False)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        assert service.machine.said("stat", "--format=%U %a", "/etc") == etc
        assert service.machine.said("sha256sum", "/etc/shadow") == shadow


def test_root_s_own_commands_find_database_and_password(service: Service) -> None:
    service.configure(symbols=("EURUSD",))
    service.start()
    service.wait_until(lambda status: status["writer"]["db"] == "up", what="the database is up")
    code, said = service.command("backup", "/root/backup", folder="/root")
    assert code == 0, said
    service.stop()
    code, said = service.command("migrate")
    assert code == 0, said
    # but root does not run it in the service's place
    done = service.machine.run("timeout", "30", "marketd", "run", check=False)
    assert (done.returncode, "systemctl start marketd" in done.stderr) == (78, True)
    assert service.machine.said("find", STATE_DIR, "-user", "root") == ""


# --- the control socket -----------------------------------------------------------------------


@pytest.mark.parametrize(("user", "folder"), [("root", "/"), ("rita", "/home/rita"), ("rita", "/root")])
def test_root_and_members_of_the_group_are_answered_wherever_they_are(
    service: Service, user: str, folder: str
) -> None:
    service.venue("--rate", "20")
    service.configure(symbols=("EURUSD", "GBPUSD"))
    service.start()
    service.wait_live()
    code, said = service.command("status", user=user, folder=folder)
    assert code == 0
    assert "2 of 2 markets live" in said
    assert service.command("market", "stop", "EURUSD", user=user, folder=folder)[0] == 0
    states = {row["symbol"]: row["state"] for row in service.status()["markets"]}
    assert states == {"EURUSD": "stopped", "GBPUSD": "live"}


def test_a_stranger_is_told_whom_the_service_answers(service: Service) -> None:
    service.start()
    for words in (
        ("status",),
        ("status", "--state-dir", STATE_DIR),
        ("market", "stop", "all"),
        ("shutdown",),
    ):
        code, said = service.command(*words, user="stranger", folder="/home/stranger")
        assert code != 0
        assert "members of its group" in said, said
        assert "Traceback" not in said
    assert service.show("ActiveState") == "active"


def test_the_services_own_socket_is_for_members_only(service: Service) -> None:
    service.start()
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/marketd/control.sock')"
    assert as_user(service, "rita", "python3", "-c", connect) == (0, "")
    code, said = as_user(service, "stranger", "python3", "-c", connect)
    assert code == 1
    assert "PermissionError" in said


def test_who_asked_is_on_record(service: Service) -> None:
    service.start()
    uid = service.machine.said("id", "--user", "rita")
    assert service.command("shutdown", user="rita")[0] == 0
    service.wait_said(f"uid {uid},")
