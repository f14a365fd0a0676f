"""Criterion of a small server: one core and 512 MB for the daemon and MariaDB together, for ten minutes."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from daemons import assert_stored_as_sent
from machines import kept_layer, running_machine
from service import Service, install

from venues.simulated.prices import FX_PAIRS

TEN_MINUTES_S = 600.0
LOOK_EVERY_S = 5.0
MOST_BYTES = 512 * 2**20
CORES = sorted(os.sched_getaffinity(0))
VENUE_CORE, SERVER_CORE = CORES[0], CORES[-1]
THOUSAND = tuple(f"S{number:03d}USD" for number in range(1000))
UNITS = ("marketd", "mariadb")

SLICE = f"[Slice]\nMemoryMax={MOST_BYTES}\nMemorySwapMax=0\nCPUQuota=100%\n"
IN_SLICE = f"[Service]\nSlice=small.slice\nCPUAffinity={SERVER_CORE}\n"


@attrs.frozen(kw_only=True)
class Used:
    """What a unit's main process has used so far."""

    cpu_s: float
    rss_mib: float


@pytest.fixture
def small_server(layers: Path, tmp_path: Path) -> Iterator[Service]:
    """The service on a disk, sharing a core and 512 MB with the database."""
    layer = kept_layer(layers / "service", make=install)
    with running_machine(layer=layer, keep=tmp_path / "disk") as machine:
        machine.write("/etc/systemd/system/small.slice", SLICE)
        for unit in UNITS:
            machine.write(f"/etc/systemd/system/{unit}.service.d/small.conf", IN_SLICE)
        machine.run("systemctl", "stop", *UNITS)
        service = Service(machine, tmp_path)
        service.make_new(tmp_path)
        yield service
        service.close()


def used(service: Service, unit: str) -> Used:
    """Return what a unit's process has used: proc_pid_stat(5), 14 and 15."""
    process = service.machine.path(f"/proc/{service.machine.show(unit, 'MainPID')}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    pages = int((process / "statm").read_text().split()[1])
    return Used(
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        rss_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )


def slice_file(service: Service, *names: str) -> str:
    """Return the content of the first of these files that the slice's cgroup has."""
    for folder in ("memory/small.slice", "small.slice"):  # version 1, version 2
        for name in names:
            path = service.machine.path(f"/sys/fs/cgroup/{folder}/{name}")
            if path.exists():
                return path.read_text().strip()
    raise FileNotFoundError(f"{names} of small.slice")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("symbols", "rate"), [(tuple(FX_PAIRS), 20), (THOUSAND, 2)], ids=["27 x 20", "1000 x 2"]
)
def test_one_core_and_512_mb_do_for_daemon_and_database(
    small_server: Service, symbols: tuple[str, ...], rate: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service = small_server
    limit = slice_file(service, "memory.limit_in_bytes", "memory.max")
    assert int(limit) == MOST_BYTES
    service.venue("--rate", str(rate), "--markets", ",".join(symbols), core=VENUE_CORE)
    # the defaults of an operator, but for the start
    service.configure(symbols=symbols, store_every_ms=2_000, start_delay_ms=5, starts_per_pass=50)
    service.start()
    service.wait_live()
    assert {service.machine.show(unit, "Slice") for unit in UNITS} == {"small.slice"}
    first = {unit: used(service, unit) for unit in UNITS}
    stored, began = service.status()["writer"]["stored"], time.monotonic()
    peaks = dict.fromkeys(UNITS, 0.0)
    worst_lag_ms = 0.0
    while time.monotonic() < began + TEN_MINUTES_S:
        time.sleep(LOOK_EVERY_S)  # the load is what is asked for
        for unit in UNITS:
            peaks[unit] = max(peaks[unit], used(service, unit).rss_mib)
        status = service.status()
        worst_lag_ms = max(worst_lag_ms, status["process"]["loop_lag_ms"])
        assert status["writer"]["dropped"] == 0
    took_s = time.monotonic() - began
    last = {unit: used(service, unit) for unit in UNITS}
    stored_per_s = (service.status()["writer"]["stored"] - stored) / took_s
    peak = int(slice_file(service, "memory.max_usage_in_bytes", "memory.peak"))
    assert service.machine.show("mariadb", "NRestarts") == "0"
    service.stop()
    assert (service.show("Result"), service.show("NRestarts")) == ("success", "0")
    with capsys.disabled():
        cpu = {unit: (last[unit].cpu_s - first[unit].cpu_s) / took_s for unit in UNITS}
        print(  # noqa: T201 - figures for docs/server.md
            f"\n{len(symbols)} markets x {rate} ticks/s, {took_s:.0f} s: {stored_per_s:.0f} stored/s; "
            + "; ".join(f"{unit} {cpu[unit]:.1%} CPU, RSS at most {peaks[unit]:.1f} MiB" for unit in UNITS)
            + f"; worst loop lag {worst_lag_ms:.1f} ms; cgroup with page cache at most {peak / 2**20:.0f} MiB"
        )
    assert peak <= MOST_BYTES
    assert_stored_as_sent(service.database, service.ledger, source="trades")
