"""The unit's memory limit, as the daemon sees it from inside of its sandbox."""

from daemons import wait_until
from service import Service

MIB = 2**20
LIMITS = (224 * MIB, 256 * MIB)  # MemoryHigh= and MemoryMax= of the unit; version 1 knows only the latter


def anonymous_bytes(service: Service) -> int:
    """Return the memory of the daemon that no file is behind: proc_pid_status(5)."""
    lines = service.machine.path(f"/proc/{service.pid}/status").read_text().splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(kilobytes) * 1024


def test_service_that_comes_near_its_memory_limit_says_so_and_goes_on(service: Service) -> None:
    service.venue("--rate", "20")
    service.start_with("from supervisor import daemon\ndaemon.TELL_EVERY_S = 0.5")
    process = service.wait_live()["process"]
    assert process["memory_limit_bytes"] in LIMITS
    assert not process["is_memory_short"]
    pid, limit = service.pid, anonymous_bytes(service) * 8 // 7
    service.drop_in(f"MemoryMax={limit}")
    status = service.wait_until(lambda status: status["process"]["is_memory_short"], what="memory is short")
    [said] = service.entries("EVENT=memory")
    assert (said["STATE"], said["PRIORITY"]) == ("short", "4")
    service.wait_until(
        lambda now: now["writer"]["stored"] > status["writer"]["stored"] + 1_000, what="feeds go on"
    )
    wait_until(lambda: "memory short" in service.show("StatusText"), what="systemctl status says so")
    assert (service.pid, service.show("NRestarts")) == (pid, "0")
    service.stop()
    assert service.show("Result") == "success"
