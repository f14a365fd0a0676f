"""The journal under a really booted systemd, with the limits of our unit."""

import json
import sys
from pathlib import Path

from machines import Machine, running_machine

from supervisor.log_bounds import BURST_ENTRIES

FLOOD = 4 * BURST_ENTRIES
# As deploy/marketd.service has them.
LIMITS = ("--property=LogRateLimitIntervalSec=30s", "--property=LogRateLimitBurst=10000")
LOG_WITHOUT_END = f"""
import logging
from domain.events import Event, emit
from supervisor import logs
log = logs.open_log(level="info")
for n in range({FLOOD}):
    emit(Event.START, "a line")
emit(Event.CRASH, "crashed", actor="market/EURUSD@sim", level=logging.ERROR)
log.close()
"""


def entries(machine: Machine, *matches: str) -> list[dict[str, str]]:
    return [
        json.loads(line)
        for line in machine.said("journalctl", "--output=json", "--quiet", *matches).splitlines()
    ]


def test_a_flood_is_cut_down_by_us_and_not_silently_by_journald() -> None:
    with running_machine() as machine:
        python = Path(sys.executable)
        machine.run("systemd-run", "--unit=flood", "--wait", "--working-directory=/src", *LIMITS,
                    python, "-c", LOG_WITHOUT_END)  # fmt: skip
        machine.run("journalctl", "--sync")
        lines = entries(machine, "--unit=flood", "EVENT=start")
        notices = entries(machine, "--unit=flood", "EVENT=log")
        [crash] = entries(machine, "--unit=flood", "MARKET=EURUSD@sim")
        suppressed = machine.said("journalctl", "--quiet", "--grep=Suppressed [0-9]+ messages", check=False)
    assert crash["MESSAGE"] == "crashed"
    assert len(lines) < FLOOD / 2
    assert len(lines) + sum(int(notice["DROPPED"]) for notice in notices) == FLOOD
    assert suppressed == ""
