"""The container's limits are the unit's: what one machine was measured with holds on the other."""

import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
MIB = 2**20


def service() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "container/compose.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = loaded["services"]["marketd"]
    return found


def unit_value(key: str) -> str:
    text = (DEPLOY / "marketd.service").read_text(encoding="utf-8")
    [value] = re.findall(rf"^{key}=(.*)$", text, flags=re.MULTILINE)
    return str(value)


def in_bytes(size: str) -> int:
    """Return systemd's `256M` or `0`, or compose's `256m`, as a number."""
    return int(size[:-1]) * MIB if size[-1] in "mM" else int(size)


def in_seconds(time: str) -> int:
    return int(time.removesuffix("s"))


def test_the_container_has_the_units_memory() -> None:
    memory = in_bytes(unit_value("MemoryMax"))
    assert in_bytes(service()["mem_limit"]) == memory
    # compose counts memory and swap together
    assert in_bytes(service()["memswap_limit"]) == memory + in_bytes(unit_value("MemorySwapMax"))
    assert service()["oom_score_adj"] == int(unit_value("OOMScoreAdjust"))


def test_the_container_has_the_units_other_limits() -> None:
    assert service()["pids_limit"] == int(unit_value("TasksMax"))
    assert service()["ulimits"]["nofile"] == int(unit_value("LimitNOFILE"))
    assert service()["ulimits"]["core"] == int(unit_value("LimitCORE"))


def test_the_container_stops_as_the_unit_does() -> None:
    assert in_seconds(service()["stop_grace_period"]) == in_seconds(unit_value("TimeoutStopSec"))
