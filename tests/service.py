"""marketd as the service of a booted machine: Debian's MariaDB beside it, the venue outside of it."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pymysql
from daemons import WITHIN_S, Settings, Simulator, Status, all_live, summary, wait_until
from machines import Machine, put_packages

PORT = 7001  # of the venue, in the machine's own network
URL = f"ws://127.0.0.1:{PORT}/stream"
DATABASE = "mysql://marketd@localhost/marketd?unix_socket=/run/mysqld/mysqld.sock"
CONFIG, STATE_DIR = "/etc/marketd/marketd.toml", "/var/lib/marketd"
DROP_INS = "/run/systemd/system/marketd.service.d"
PYTHON = "/opt/marketd/current/bin/python"


def install(machine: Machine) -> None:
    """Install the checkout as a user would; rita may ask the service, a stranger may not."""
    put_packages(machine)
    machine.run("/src/deploy/install.sh")
    machine.run("systemctl", "stop", "marketd", "mariadb")
    machine.run("useradd", "--create-home", "--groups", "marketd", "rita")
    machine.run("useradd", "--create-home", "stranger")
    machine.run("apt-get", "clean")


@attrs.frozen(kw_only=True)
class ServiceDatabase:
    """The service's database, looked at from outside, as root."""

    machine: Machine
    url: str = DATABASE

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        socket = self.machine.path("/run/mysqld/mysqld.sock")
        with (
            contextlib.closing(
                pymysql.connect(unix_socket=str(socket), user="root", autocommit=True, ssl_disabled=True)
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("USE marketd")
            cursor.execute(sql)
            return list(cursor.fetchall())


class Service:
    """The service on one machine. A venue has its ledger in `folder`."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.database = ServiceDatabase(machine=machine)
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self._numbers = itertools.count(1)
        self._venues: list[Simulator] = []

    def make_new(self, folder: Path) -> None:
        """Bring everything back to how it was installed: nothing runs but the database, which is empty."""
        self.close()
        self.folder, self.ledger = folder, folder / "ledger.jsonl"
        self.machine.run(
            "sh", "-euc",
            f"systemctl stop marketd; rm -rf {DROP_INS} {STATE_DIR}; systemctl daemon-reload;"
            "systemctl reset-failed marketd || :; systemctl start mariadb;"
            "mariadb --execute 'DROP DATABASE IF EXISTS marketd; CREATE DATABASE marketd';"
            "journalctl --rotate --vacuum-time=1s --quiet",
        )  # fmt: skip
        self.configure()

    def close(self) -> None:
        """End the venues."""
        for venue in self._venues:
            venue.kill()
        self._venues = []

    # --- the parts ------------------------------------------------------------------------------

    def settings(self, **changed: Any) -> Settings:
        """Return settings of the venue's 27 markets on this database."""
        return Settings(**{"url": URL, "database": self.database, **changed})

    def configure(self, **changed: Any) -> None:
        """Write the settings file."""
        self.machine.path(CONFIG).write_text(self.settings(**changed).text(), encoding="utf-8")

    def drop_in(self, text: str) -> None:
        """Change the unit for this test, by a drop-in below [Service]."""
        self.machine.write(f"{DROP_INS}/test.conf", f"[Service]\n{text}\n")
        self.machine.run("systemctl", "daemon-reload")

    def start_with(self, fault: str, drop_in: str = "") -> None:
        """Start the service with `fault`, Python statements that break something in it."""
        self.machine.write(
            "/opt/faulty.py",
            f"{fault}\nfrom supervisor.cli import main\nraise SystemExit(main())\n",
        )
        self.drop_in(f"ExecStart=\nExecStart={PYTHON} /opt/faulty.py run --config {CONFIG}\n{drop_in}")
        self.start()

    def venue(self, *arguments: str, core: int | None = None) -> Simulator:
        """Start the venue, outside of the machine but for its network."""
        pin = [] if core is None else ["taskset", "--cpu-list", str(core)]
        venue = Simulator(
            *arguments, "--ledger", str(self.ledger),
            log=self.folder / f"venue-{next(self._numbers)}.log", port=PORT,
            prefix=["nsenter", "--target", str(self.machine.init), "--net", "--", *pin],
        )  # fmt: skip
        self._venues.append(venue)
        return venue

    # --- the service ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, which returns when it is ready."""
        self.machine.run("systemctl", "start", "marketd")

    def stop(self) -> None:
        """Stop it."""
        self.machine.run("systemctl", "stop", "marketd")

    def kill(self, number: str) -> None:
        """Have the service manager send it a signal."""
        self.machine.run("systemctl", "kill", "--signal", number, "marketd")

    def password(self) -> str:
        """Return the password of the database."""
        return self.machine.said("cat", "/etc/marketd/db-password")

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.machine.show("marketd", name)

    def wait_shown(self, name: str, value: str) -> None:
        """Wait until a property of the unit has this value."""
        self.machine.wait_shown("marketd", name, value)

    @property
    def pid(self) -> int:
        """The daemon's process, as the machine counts; 0 where there is none."""
        return int(self.show("MainPID"))

    def command(self, *words: str, user: str = "root", folder: str = "/") -> "tuple[int, str]":
        """Run a command of `marketd` as a user; return its exit code and all it said."""
        as_user = (
            [] if user == "root" else ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--"]
        )
        home = "/root" if user == "root" else f"/home/{user}"
        done = self.machine.run(
            "env", "--chdir", folder, *as_user, "marketd", *words, check=False, environment={"HOME": home}
        )
        return done.returncode, done.stdout + done.stderr

    def status(self) -> Status:
        """Return what `marketd status --json` shows; nothing where it does not answer."""
        done = self.machine.run("marketd", "status", "--json", check=False)
        found: Status = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return found

    def wait_until(self, holds: Callable[[Status], object], *, what: str) -> Status:
        """Ask for the status until something holds of it; return that status."""
        deadline = time.monotonic() + WITHIN_S
        while not ((status := self.status()) and holds(status)):
            assert time.monotonic() < deadline, f"not within {WITHIN_S} s: {what}; last: {summary(status)}"
        return status

    def wait_live(self) -> Status:
        """Wait until every market is live."""
        return self.wait_until(all_live, what="all live")

    # --- what it says ---------------------------------------------------------------------------

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """Return the unit's entries in the journal that match; one that is not there yet may be missing."""
        text = self.machine.said(
            "journalctl", "--unit=marketd", "--output=json", "--all", "--quiet", *matches, check=False
        )
        return [json.loads(line) for line in text.splitlines()]

    def wait_said(self, words: str) -> None:
        """Wait until the unit's part of the journal holds these words."""
        wait_until(
            lambda: any(words in str(entry.get("MESSAGE")) for entry in self.entries()),
            what=f"the journal says {words!r}",
        )

    def result(self) -> Mapping[str, str]:
        """Return what the unit wrote down of how the last run ended."""
        lines = self.machine.path(f"{STATE_DIR}/service-result").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)
