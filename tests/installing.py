"""deploy/install.sh on a booted machine: clones to install from, the venue, what is there afterwards."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from daemons import WITHIN_S, Settings, Simulator, wait_until
from databases import SqliteDatabase
from machines import ROOT, Machine

from storage.target import SqliteTarget

CONFIG, STATE, BACKUPS = "/etc/marketd/marketd.toml", "/var/lib/marketd", "/var/backups/marketd"
UNIT = "/etc/systemd/system/marketd.service"
PORT = 7002  # of the venue, in the machine's own network
URL = f"ws://127.0.0.1:{PORT}/stream"
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")
# What a release is made of: see release_parts in deploy/lib/release.sh.
PARTS = ("domain", "wire", "venues", "storage", "actors", "supervisor", "setup.cfg", "pyproject.toml")

# By a Python of the machine: SQLite itself follows the links on the way into one.
READ_TICKS = f"""
import json, sqlite3
query = "SELECT symbol, ts_us, seq, price FROM tick JOIN market ON id = market_id"
print(json.dumps(sqlite3.connect("{STATE}/marketd.db").execute(query).fetchall()))
"""


@attrs.frozen(kw_only=True)
class Server:
    """A machine to install on. `clone` is the folder on it that install.sh is run from."""

    machine: Machine
    clone: str = "/src"

    # --- the script -----------------------------------------------------------------------------

    def script(
        self,
        *words: str,
        clone: str | None = None,
        text: str | None = None,
        environment: Mapping[str, str] = {},  # never written to
    ) -> "subprocess.CompletedProcess[str]":
        """Run it as the guide does, inside the clone, whatever becomes of it."""
        return self.machine.run(
            "env", f"--chdir={clone or self.clone}", "deploy/install.sh", *words,
            check=False, text=text, environment=environment,
        )  # fmt: skip

    def install(self, *words: str, clone: str | None = None, text: str | None = None) -> str:
        """Run it; fail where it fails; return what it said."""
        done = self.script(*words, clone=clone, text=text)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def new_clone(self, name: str, *, commit: str | None = None) -> str:
        """Put a clone on the machine: the checkout, or of a commit what is installed of it."""
        folder = self.machine.path(f"/root/{name}")
        folder.mkdir(parents=True)
        copy = ["tar", "--create", "--exclude=./.*", "--exclude=./tests", "--directory", str(ROOT), "."]
        archive = ["git", "-C", str(ROOT), "archive", str(commit)]
        made = subprocess.run(archive if commit else copy, check=True, capture_output=True)
        subprocess.run(["tar", "--extract", "--directory", folder], input=made.stdout, check=True)
        return f"/root/{name}"

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace one piece of a file's text."""
        file = self.machine.path(path)
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path}: {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    # --- what is there --------------------------------------------------------------------------

    def release(self) -> str:
        """Return the name of the release in use."""
        return self.machine.said("readlink", "/opt/marketd/current").removeprefix("releases/")

    def pid(self, unit: str = "marketd") -> int:
        return int(self.machine.show(unit, "MainPID"))

    def is_active(self, unit: str = "marketd") -> bool:
        return self.machine.show(unit, "ActiveState") == "active"

    def exists(self, path: str) -> bool:
        return self.machine.run("test", "-e", path, check=False).returncode == 0

    def files(self, *folders: str) -> str:
        """Return every file below these folders, with what tells whether it was written again."""
        there = [each for each in folders if self.exists(each)]
        return self.machine.said("find", *there, "-printf", "%p %i %u:%g %m %T@ %C@ %l\n")

    def owner_and_mode(self, path: str) -> str:
        return self.machine.said("stat", "--format=%U:%G %a", path)

    def sql(self, statements: str) -> str:
        """Run statements as root of the machine's server."""
        return self.machine.said("mariadb", "--batch", "--skip-column-names", text=statements)

    def status(self) -> dict[str, Any]:
        done = self.machine.run("marketd", "status", "--json", check=False)
        return dict(json.loads(done.stdout or "{}"))

    # --- prices ---------------------------------------------------------------------------------

    def watch_venue(self) -> None:
        """Set the venue's markets in the installed settings, and have the service start with them."""
        text = self.machine.path(CONFIG).read_text(encoding="utf-8")
        url = next((line for line in text.splitlines() if line.startswith("url = ")), "")
        database = SqliteDatabase(target=SqliteTarget(path=Path(STATE) / "marketd.db"))
        settings = Settings(url=URL, database=database, symbols=SYMBOLS).text()
        if url:
            settings = settings.replace(f'url = "{database.url}"', url)
        self.machine.path(CONFIG).write_text(settings, encoding="utf-8")
        self.machine.run("systemctl", "restart", "marketd")

    @contextlib.contextmanager
    def venue(self, folder: Path) -> Iterator[Simulator]:
        """Serve a simulated venue on the machine's own network, from outside of it."""
        prefix = ["nsenter", "--target", str(self.machine.init), "--net", "--"]
        simulator = Simulator("--rate", "5", log=folder / "venue.log", port=PORT, prefix=prefix)
        try:
            yield simulator
        finally:
            simulator.kill()

    def wait_stored(self, count: int) -> None:
        """Wait until this run of the daemon has stored at least so many ticks."""
        wait_until(
            lambda: self.status().get("writer", {}).get("stored", 0) >= count,
            what=f"{count} ticks are stored", within_s=WITHIN_S,
        )  # fmt: skip

    def ticks(self) -> set[tuple[object, ...]]:
        """Return all that is stored in the embedded database."""
        rows = self.machine.said("/usr/bin/python3", "-c", READ_TICKS)
        return {tuple(row) for row in json.loads(rows)}


def commit_before_the_last_change() -> str:
    """Return the commit before the last one that changed anything of what is installed."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    if git("status", "--porcelain", "--", *PARTS):
        return git("rev-parse", "HEAD")
    return git("rev-parse", git("log", "-1", "--format=%H", "--", *PARTS) + "~1")
