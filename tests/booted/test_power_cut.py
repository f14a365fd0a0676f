"""The machine loses its power under load, and boots again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_evidence import read_journal
from daemons import read_stored, wait_until
from machines import Machine, kept_layer, running_machine
from service import STATE_DIR, Service, install

DROP_IN = "etc/systemd/system/marketd.service.d/boot.conf"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """What the machine has written, which the next one finds."""
    yield tmp_path / "disk"
    for name in ("disk", "disk.work"):  # half a gigabyte
        shutil.rmtree(tmp_path / name)


def boot_text(boot: str) -> str:
    """Return a drop-in that names the boot: all machines here run on one kernel, which booted once."""
    return f"[Service]\nEnvironment=MARKETD_BOOT_ID={boot}\n"


def run_until_cut(machine: Machine, folder: Path) -> int:
    """Let the service run under load until the power is cut; return how much it had accepted by then."""
    service = Service(machine, folder)
    service.make_new(folder)
    machine.write(f"/{DROP_IN}", boot_text("1"))
    machine.run("systemctl", "daemon-reload")
    service.venue("--rate", "20")
    service.start()
    service.wait_live()
    status = service.wait_until(lambda status: status["writer"]["stored"] > 1_000, what="1,000 ticks stored")
    machine.cut_power()
    service.close()
    return int(status["writer"]["accepted"])


def test_a_power_cut_is_told_after_the_boot_and_loses_nothing_that_was_accepted(
    layers: Path, disk: Path, tmp_path: Path
) -> None:
    with running_machine(layer=kept_layer(layers / "service", make=install), keep=disk) as machine:
        count = run_until_cut(machine, tmp_path)
    accepted = read_journal(disk / STATE_DIR.lstrip("/") / "journal.db")
    assert len(accepted) >= count
    (disk / DROP_IN).write_text(boot_text("2"))
    with running_machine(layer=disk) as machine:
        service = Service(machine, tmp_path)
        status = service.wait_until(lambda status: status["ready"], what="ready by itself")
        last = status["last_run"]
        assert last["end"] == "power_loss"
        assert last["started_us"] < last["ended_us"] < status["started_us"]
        wait_until(
            lambda: accepted <= set(read_stored(service.database, source="trades")), what="all of it stored"
        )
        assert service.show("NRestarts") == "0"
