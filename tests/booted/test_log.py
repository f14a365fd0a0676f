"""The journal under a really booted systemd, with the limits of our unit."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machine, kept_layer, running_machine
from service import PYTHON, install

from supervisor.log_bounds import BURST_ENTRIES

FLOOD = 4 * BURST_ENTRIES
ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"`(journalctl [^`|\\]+)`", (ROOT / "docs/events.md").read_text(encoding="utf-8"))
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
LIMITS = re.findall(
    r"^LogRateLimit.*$", (ROOT / "deploy/marketd.service").read_text(encoding="utf-8"), flags=re.MULTILINE
)
# A unit of the name of ours, in its place, with its limits; it stays there when the process has ended.
UNIT = (
    "--unit=marketd",
    "--property=Type=oneshot",
    "--property=RemainAfterExit=yes",
    *(f"--property={limit}" for limit in LIMITS),
    "--working-directory=/src",
)


@pytest.fixture(scope="module")
def flooded(layers: Path) -> Iterator[Machine]:
    """A machine on which a service logged without end."""
    with running_machine(layer=kept_layer(layers / "service", make=install)) as machine:
        machine.run("systemctl", "stop", "marketd")
        machine.run("rm", "/etc/systemd/system/marketd.service")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemd-run", *UNIT, PYTHON, "-c", LOG_WITHOUT_END)
        machine.run("journalctl", "--sync")
        yield machine


def entries(machine: Machine, *matches: str) -> list[dict[str, str]]:
    found = machine.said("journalctl", "--output=json", "--quiet", "--unit=marketd", *matches)
    return [json.loads(line) for line in found.splitlines()]


def test_a_flood_is_cut_down_by_us_and_not_silently_by_journald(flooded: Machine) -> None:
    lines, notices = entries(flooded, "MESSAGE=a line"), entries(flooded, "EVENT=log")
    assert len(lines) < FLOOD / 2
    assert len(lines) + sum(int(notice["DROPPED"]) for notice in notices) == FLOOD
    # it ends with 1 where nothing is found
    assert flooded.run("journalctl", "--grep=Suppressed [0-9]+ messages", check=False).returncode == 1


def test_the_life_of_one_market_is_found_among_it(flooded: Machine) -> None:
    [crash] = entries(flooded, "MARKET=EURUSD@sim")
    assert (crash["MESSAGE"], crash["PRIORITY"], crash["EVENT"]) == ("crashed", "3", "crash")
    assert crash["_SYSTEMD_UNIT"] == "marketd.service"


def test_each_command_of_the_page_is_one(flooded: Machine) -> None:
    commands = [command for command in COMMANDS if " -f" not in command]
    assert len(commands) > 10
    assert {command: flooded.run("sh", "-c", command).stderr for command in commands} == dict.fromkeys(
        commands, ""
    )
