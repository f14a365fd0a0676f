"""The yardstick does what the old bot did: it polls, stores, and never comes back."""

import json
import sys
from typing import Any

from daemons import FIVE, Workshop, wait_until
from databases import MariadbDatabase


def test_old_bot_stores_over_fresh_connections_until_its_sockets_are_lost(
    workshop: Workshop, mariadb: MariadbDatabase
) -> None:
    simulator = workshop.simulator("--rate", "5", "--fault", "reset@1.5")
    figures = workshop.folder / "figures"
    before = mariadb.server.status("Connections")
    words = (simulator.url, mariadb.url, mariadb.server.password_file, figures, ",".join(FIVE))
    bot = workshop.running([sys.executable, "-m", "benchmarks.old_bot", *words], name="old_bot")

    def found() -> dict[str, Any]:
        return json.loads(figures.read_text()) if figures.exists() else {"live": 0, "threads": len(FIVE)}

    wait_until(lambda: found()["live"] == len(FIVE), what="all live")
    wait_until(lambda: found()["threads"] == 0, what="all lost")
    [(stored,)] = mariadb.query("SELECT count(*) FROM price")
    assert stored >= len(FIVE) * 5
    connections = mariadb.server.status("Connections") - before
    assert connections > stored + len(FIVE)  # it asks whether it is to run, too
    assert bot.is_running
