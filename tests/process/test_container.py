import os
import signal
import subprocess
from pathlib import Path

from daemons import CLOSED_PORT_URL, FIVE, MARKETD, WITHIN_S, Settings, Workshop
from databases import SqliteDatabase

from storage.target import SqliteTarget

HEALTH = Path(__file__).parents[2] / "deploy/container/health.sh"
HEALTHY, UNHEALTHY = 0, 1


def health(workshop: Workshop) -> int:
    """Run the container's health check as Docker would; return its exit code."""
    environment = {
        "PATH": f"{MARKETD.parent}:{os.environ['PATH']}",
        "STATE_DIRECTORY": str(workshop.state_dir),
    }
    return subprocess.run([HEALTH], env=environment, check=False, timeout=WITHIN_S).returncode


def test_only_a_daemon_that_is_gone_or_does_not_answer_is_unhealthy(workshop: Workshop) -> None:
    assert health(workshop) == UNHEALTHY
    database = SqliteDatabase(target=SqliteTarget(path=workshop.folder / "marketd.db"))
    daemon = workshop.daemon(Settings(url=CLOSED_PORT_URL, database=database, symbols=FIVE))
    daemon.wait_ready()
    # The venue is down: that is no reason to start anything again.
    assert workshop.command("status").returncode == 1
    assert health(workshop) == HEALTHY
    daemon.send(signal.SIGSTOP)
    assert health(workshop) == UNHEALTHY
    daemon.send(signal.SIGCONT)
    assert health(workshop) == HEALTHY
    assert daemon.stop() == 0
    assert health(workshop) == UNHEALTHY
