"""deploy/install.sh --upgrade: there, and back again where the new version does not get ready."""

import signal
from pathlib import Path

from installing import BACKUPS, STATE, UNIT, Server, commit_before_the_last_change

from storage.tables import NEWEST

KILLED = -signal.SIGKILL
QUICKLY = {"MARKETD_READY_WITHIN_S": "10"}  # instead of 120
PROGRESS = "/opt/marketd/upgrade"
VERSION = 'VERSION = "0.1.0"'


def cut_off(server: Server, point: str, *, clone: str) -> None:
    done = server.script("--upgrade", clone=clone, environment={**QUICKLY, "MARKETD_INSTALL_CRASH_AT": point})
    assert done.returncode == KILLED, done.stdout + done.stderr


def test_the_previous_version_is_upgraded_with_its_data_however_often_that_is_cut_off(
    server: Server, tmp_path: Path
) -> None:
    machine = server.machine
    old, new = server.new_clone("old", commit=commit_before_the_last_change()), server.new_clone("new")
    if not server.exists(f"{old}/deploy/install.sh"):  # it had none yet
        machine.run("cp", "--recursive", f"{new}/deploy", old)
    server.install("--sqlite", clone=old)
    with server.venue(tmp_path):
        server.watch_venue()
        server.wait_stored(30)
        release, pid = server.release(), server.pid()
        refused = server.script(clone=new)
        assert refused.returncode == 1
        assert "--upgrade" in refused.stderr
        before = server.ticks()
        for point in ("built-half", "backed-up"):  # until here the old one runs on
            cut_off(server, point, clone=new)
            assert (server.pid(), server.release()) == (pid, release)
        for point in ("stopped", "switched", "migrated"):
            cut_off(server, point, clone=new)
            assert server.exists(PROGRESS)
        lost = {"MARKETD_INSTALL_CRASH_AT": "stopped", "MARKETD_INSTALL_CRASH_BY": "HUP"}  # the connection
        assert server.script("--upgrade", clone=new, environment=lost).returncode == 130
        assert server.exists(PROGRESS)
        machine.wait_shown("marketd", "ActiveState", "active")
        refused = server.script(clone=new)
        assert refused.returncode == 1
        assert "--upgrade" in refused.stderr
        assert f"before it was {release}" in server.install("--upgrade", clone=new)
        assert server.release() != release
        assert not server.exists(PROGRESS)
        server.wait_stored(30)
        assert before < server.ticks()
        # what the container's operator keeps in the clone is no part of the service
        machine.write(f"{new}/deploy/container/secrets/db-password", "secret", mode=0o444)
        assert "installed already" in server.install("--upgrade", clone=new)
    # the old one is kept, and what is older is not
    server.edit(f"{new}/supervisor/version.py", VERSION, 'VERSION = "0.1.1"')
    with machine.path(UNIT).open("a") as file:
        file.write("# mine\n")
    server.edit(f"{new}/deploy/marketd.service", "RestartSec=5", "RestartSec=6")
    said = server.install("--upgrade", clone=new)
    assert "0.1.1" in machine.said("marketd", "--version")
    assert release not in machine.said("ls", "/opt/marketd/releases")
    assert len(machine.said("ls", "/opt/marketd/releases").split()) == 2
    assert len(machine.said("ls", BACKUPS).split()) == 2
    assert not server.exists("/opt/marketd/current/deploy/container")
    assert f"{UNIT}.new" in said
    assert "RestartSec=5" in machine.path(UNIT).read_text()
    assert "RestartSec=6" in machine.path(f"{UNIT}.new").read_text()


def test_a_version_that_cannot_be_built_leaves_the_old_one_running(installed: Server) -> None:
    clone = installed.new_clone("broken")
    installed.edit(
        f"{clone}/setup.cfg", "install_requires =\n", "install_requires =\n    no-such-package-0\n"
    )
    machine, command = installed.machine, "/opt/marketd/current/bin/marketd"
    # nor does one while real money is at stake
    machine.run("mv", command, f"{command}.real")
    machine.write(command, """#!/bin/sh\necho '{"trading": {"open_real": 2}}'\n""", mode=0o755)
    refused = installed.script("--upgrade", clone=clone)
    assert refused.returncode == 1
    assert "2 real trades are open" in refused.stderr
    machine.run("mv", f"{command}.real", command)
    before = installed.pid(), installed.release(), installed.files(BACKUPS, UNIT, "/opt/marketd/current")
    done = installed.script("--upgrade", clone=clone)
    assert done.returncode == 1
    assert "could not be built" in done.stderr
    assert (installed.pid(), installed.release(), installed.files(BACKUPS, UNIT, "/opt/marketd/current")) == (
        before
    )
    assert not installed.exists(PROGRESS)


def make_never_ready(server: Server) -> str:
    """Return a clone that changes the schema, watches, stores, and never says that it is ready."""
    clone = server.new_clone("never-ready")
    server.edit(
        f"{clone}/supervisor/daemon.py",
        "        self.manager.ready(self._one_line())\n        if self._is",
        "        if self._is",
    )
    for dialect in ("mysql", "sqlite"):
        server.machine.write(
            f"{clone}/storage/schema/{NEWEST + 1:03}_later.{dialect}.sql",
            "CREATE TABLE IF NOT EXISTS `release` (id BIGINT NOT NULL PRIMARY KEY);\n",
        )
    server.edit(f"{clone}/deploy/marketd.service", "RestartSec=5", "RestartSec=6")
    return clone


def test_a_version_that_does_not_get_ready_is_taken_back_with_all_it_stored(
    installed: Server, tmp_path: Path
) -> None:
    machine, clone = installed.machine, make_never_ready(installed)
    release = installed.release()
    with installed.venue(tmp_path):
        installed.watch_venue()
        installed.wait_stored(30)
        by_old = ticks(installed)
        cut_off(installed, "back-stopped", clone=clone)
        by_new = ticks(installed)
        assert len(by_new) > len(by_old) >= 30
        assert installed.sql("SELECT MAX(version) FROM marketd.schema_version") == str(NEWEST + 1)
        cut_off(installed, "back-restored", clone=clone)
        done = installed.script("--upgrade", clone=clone, environment=QUICKLY)
        assert done.returncode == 1
        assert "runs again" in done.stderr
        assert installed.is_active()
        assert installed.release() == release
        installed.wait_stored(30)
    assert by_new < ticks(installed)
    assert installed.sql("SELECT MAX(version) FROM marketd.schema_version") == str(NEWEST)
    assert installed.sql("SHOW TABLES FROM marketd LIKE 'release'") == ""
    assert "RestartSec=5" in machine.path(UNIT).read_text()
    assert installed.sql("SELECT COUNT(*) FROM marketd.gap WHERE cause = 'downtime'") != "0"
    assert machine.said("ls", BACKUPS)
    assert not installed.exists(PROGRESS)
    assert "root" not in machine.said("find", STATE, "-printf", "%u:%g ")
    assert machine.said("find", STATE, "-perm", "/o=rwx") == ""


def ticks(server: Server) -> set[str]:
    """Return all that is stored in the database of the machine's MariaDB."""
    rows = "SELECT symbol, ts_us, seq, price FROM marketd.tick JOIN marketd.market ON id = market_id"
    return set(server.sql(rows).splitlines())
