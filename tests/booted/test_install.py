"""deploy/install.sh on a clean server: real systemd, real apt, real MariaDB, no network."""

import signal

from installing import BACKUPS, CONFIG, STATE, UNIT, Server

PASSWORD_FILE = "/etc/marketd/db-password"
KILLED = -signal.SIGKILL


# --- installed ----------------------------------------------------------------------------------------


def test_one_command_gives_a_service_that_starts_with_the_server_beside_its_own_mariadb(
    installed: Server,
) -> None:
    machine = installed.machine
    assert machine.show("marketd", "NRestarts") == "0"
    assert machine.said("ps", "-o", "user=", "-p", str(installed.pid())) == "marketd"
    assert installed.status()["writer"]["db"] == "up"
    found = machine.said("marketd", "check", check=False)
    assert "FAILED" not in found
    assert "mysql://marketd@/run/mysqld/mysqld.sock/marketd" in found
    assert (
        installed.sql("SELECT @@innodb_buffer_pool_size, @@innodb_flush_log_at_trx_commit") == "67108864\t1"
    )
    assert installed.sql("SHOW GRANTS FOR marketd@localhost").count("GRANT") == 2  # USAGE, and its database
    assert "marketd" in machine.said("runuser", "-u", "rita", "--", "marketd", "status", check=False)
    as_rita = machine.run("runuser", "-u", "rita", "--", "marketd", "check", check=False)
    assert "is for root only: use sudo" in as_rita.stderr

    # and nobody else reads what is secret
    modes = {
        path: installed.owner_and_mode(path)
        for path in (CONFIG, PASSWORD_FILE, STATE, BACKUPS, "/opt/marketd/current/bin/marketd")
    }
    assert modes == {
        CONFIG: "root:marketd 640",
        PASSWORD_FILE: "root:root 600",
        STATE: "marketd:marketd 750",
        BACKUPS: "root:root 700",
        "/opt/marketd/current/bin/marketd": "root:root 755",
    }
    password = machine.said("cat", PASSWORD_FILE)
    assert len(password) >= 40
    assert password not in machine.said("journalctl", "--no-pager")


def test_given_again_it_changes_nothing_but_what_is_not_as_it_should_be(installed: Server) -> None:
    places = ("/etc", "/opt/marketd", "/usr/local/bin", BACKUPS, "/var/lib/mysql/mysql")
    machine = installed.machine
    with machine.path(CONFIG).open("a") as file:
        file.write("# mine\n")
    before = installed.files(*places)
    pids = installed.pid(), installed.pid("mariadb")
    assert "Nothing to do" in installed.install()
    assert "Nothing to do" in installed.install("--sqlite")  # what was chosen first holds
    assert installed.files(*places) == before
    assert (installed.pid(), installed.pid("mariadb")) == pids
    # what is not as it should be any more is put right
    machine.run("systemctl", "disable", "--now", "marketd")
    machine.run("rm", UNIT, PASSWORD_FILE, "/usr/local/bin/marketd")
    # as the next Debian's Python does
    machine.run("sh", "-c", "cd /opt/marketd/current/lib && mv python3.* python2.0")
    refused = installed.script("--upgrade")
    assert refused.returncode == 1
    assert "deploy/install.sh without --upgrade" in refused.stderr
    installed.install()
    assert installed.is_active()
    assert installed.status()["writer"]["db"] == "up"
    assert machine.said("systemctl", "is-enabled", "marketd") == "enabled"


def test_uninstalling_keeps_what_is_yours_until_told_to_delete_it(installed: Server) -> None:
    with installed.machine.path(UNIT).open("a") as file:
        file.write("# mine\n")
    said = installed.install("--uninstall")
    assert installed.machine.path("/etc/marketd/marketd.service").read_text().endswith("# mine\n")
    assert not any(installed.exists(path) for path in (UNIT, "/opt/marketd", "/usr/local/bin/marketd"))
    for kept in (CONFIG, PASSWORD_FILE, f"{STATE}/journal.db"):
        assert installed.exists(kept)
    assert all(f"stays: {each}" in said for each in ("/etc/marketd", STATE, "MariaDB"))
    before = installed.files("/etc/marketd")
    installed.install()
    assert installed.files("/etc/marketd") == before
    assert installed.status()["writer"]["db"] == "up"
    # and all of it, but for what others have in the same server
    installed.sql("CREATE DATABASE shop; CREATE TABLE shop.sold (id INT); INSERT INTO shop.sold VALUES (7)")
    refused = installed.script("--uninstall", "--delete-data")  # nobody there to say it
    assert refused.returncode == 1
    assert installed.is_active()
    installed.install("--uninstall", "--delete-data", "--yes")
    gone = ("/etc/marketd", "/opt/marketd", STATE, BACKUPS, UNIT, "/usr/local/bin/marketd")
    assert [path for path in gone if installed.exists(path)] == []
    assert installed.machine.run("id", "marketd", check=False).returncode != 0
    assert installed.sql("SELECT * FROM shop.sold") == "7"
    assert "marketd" not in installed.sql("SHOW DATABASES; SELECT user FROM mysql.user")
    assert "not installed" in installed.install("--uninstall", "--delete-data", "--yes")


# --- which database -----------------------------------------------------------------------------------


def test_embedded_database_needs_no_server(server: Server) -> None:
    # through a link, with the habits of a developer in the environment
    server.machine.run("ln", "--symbolic", "/src/deploy/install.sh", "/root/install-marketd")
    server.machine.write("/root/attr.py", "raise SystemExit('not the one that was installed')\n")
    habits = {"PYTHONPATH": "/root", "PYTHONHOME": "/nowhere", "PIP_USER": "1", "CDPATH": "/"}
    done = server.machine.run("/root/install-marketd", "--sqlite", check=False, environment=habits)
    assert done.returncode == 0, done.stderr
    assert server.status()["writer"]["db"] == "up"
    assert server.owner_and_mode(f"{STATE}/marketd.db") == "marketd:marketd 640"
    assert not server.exists("/lib/systemd/system/mariadb.service")
    assert not server.exists(PASSWORD_FILE)
    assert "Nothing to do" in server.install()
    # what was there before, and what the operator chose himself, is not deleted
    server.machine.run("sed", "--in-place", "/^user$/d", "/etc/marketd/installed")
    server.machine.run("cp", "--recursive", STATE, "/srv/prices")
    server.machine.run("cp", "--recursive", STATE, "/srv/linked")
    server.machine.run("rm", "--recursive", BACKUPS)
    server.machine.run("ln", "--symbolic", "/srv/linked", BACKUPS)
    server.edit(CONFIG, "[service]\n", '[service]\nstate_dir = "/srv/prices"\n')
    said = server.install("--uninstall", "--delete-data", "--yes")
    for kept in ("/srv/prices", "/srv/linked"):
        assert f"stays: {kept}" in said
        assert server.exists(f"{kept}/marketd.db")
    assert "stays: the user marketd" in said
    assert server.machine.run("id", "marketd").returncode == 0
    assert not any(server.exists(path) for path in (CONFIG, STATE, BACKUPS))


def test_a_server_that_is_there_keeps_its_configuration_and_its_databases(server: Server) -> None:
    server.machine.run("apt-get", "install", "--yes", "--no-install-recommends", "mariadb-server")
    server.sql("CREATE DATABASE bot; CREATE TABLE bot.price (id INT); INSERT INTO bot.price VALUES (7)")
    places = ("/etc/mysql", "/usr/sbin", "/var/lib/mysql/bot")
    before, pid = server.files(*places), server.pid("mariadb")
    for point in ("built-half", "password"):  # an installation that is cut off is gone on with
        cut_off = server.script(environment={"MARKETD_INSTALL_CRASH_AT": point})
        assert cut_off.returncode == KILLED
        assert not server.exists(CONFIG)
    server.install()
    assert "Nothing to do" in server.install()
    assert server.status()["writer"]["db"] == "up"
    assert server.files(*places) == before
    assert server.pid("mariadb") == pid
    assert server.sql("SELECT * FROM bot.price") == "7"
    # and one of its accounts, by address: what the first installation made stays as it is meanwhile
    server.install("--uninstall", "--delete-data", "--yes")
    server.sql("CREATE USER me@'%' IDENTIFIED BY 'se''cret %'; GRANT ALL ON bot.* TO me@'%'")
    url = "mysql://me@127.0.0.1/bot"
    refused = server.script("--mysql-url", url, text="wrong\n")
    assert refused.returncode == 1
    assert "1045" in refused.stderr  # access denied
    assert not server.exists(CONFIG)
    assert not server.exists(UNIT)
    server.machine.write("/root/mine/secret", "se'cret %\n", mode=0o600)
    said = server.install("--mysql-url", url, "--mysql-password-file", "../root/mine/secret")
    assert server.status()["writer"]["db"] == "up"
    assert server.owner_and_mode(PASSWORD_FILE) == "root:root 600"
    assert "cret %" not in said + server.machine.path(CONFIG).read_text()
    server.install("--uninstall", "--delete-data", "--yes")
    assert server.sql("SELECT * FROM bot.price") == "7"
    assert "tick" in server.sql("SHOW TABLES FROM bot")  # theirs to delete
    # an account or a database of that name which somebody else made is not taken
    server.sql("CREATE DATABASE marketd")
    refused = server.script()
    assert refused.returncode == 1
    assert "database marketd" in refused.stderr
    assert not server.exists("/opt/marketd")
    assert "--mysql-url" in refused.stderr


# --- refused ------------------------------------------------------------------------------------------


def test_what_cannot_be_done_is_refused_before_anything_changes(server: Server) -> None:
    machine = server.machine
    places = ("/etc", "/opt/marketd", "/usr/local/bin", STATE)
    before = server.files(*places)

    def refused(*words: str, names: str, code: int = 1) -> None:
        done = server.script(*words)
        assert done.returncode == code, done.stdout
        assert names in done.stderr

    refused("--sqlite", "--mysql-url", "mysql://me@there/bot", names="exclude", code=2)
    refused("--everything", names="--everything is not known", code=2)
    refused("--mysql-url", "mysql://me:hidden@there/bot", names="does not belong into --mysql-url")
    assert "hidden" not in server.script("--mysql-url", "mysql://me:hidden@there/bot").stderr
    refused("--upgrade", names="not installed here")
    stranger = machine.run("runuser", "-u", "nobody", "--", "/src/deploy/install.sh", "--sqlite", check=False)
    assert stranger.returncode == 1
    assert "only root" in stranger.stderr
    assert server.files(*places) == before

    machine.run("mkdir", "/opt/marketd")
    machine.run("mount", "-t", "tmpfs", "-o", "size=50M", "tmpfs", "/opt/marketd")
    refused("--sqlite", names="too little room in /opt/marketd")
    machine.write("/etc/os-release", 'ID=gentoo\nVERSION_ID=2\nPRETTY_NAME="Gentoo Linux"\n')
    refused("--sqlite", names="this is Gentoo Linux")
    refused("--sqlite", "--untested-system", names="too little room in /opt/marketd")
    second = machine.run(
        "flock", "/run/marketd-install.lock", "/src/deploy/install.sh", "--untested-system", check=False
    )
    assert "another deploy/install.sh is running" in second.stderr
