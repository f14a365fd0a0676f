"""What the kernel's counters say of kills for want of memory, in both versions' files."""

from pathlib import Path

import pytest

from supervisor import oom
from supervisor.cgroups import Group, GroupV1, GroupV2

MIB = 2**20

# As read on Debian 12 (kernel 6.18), version 2 and version 1.
EVENTS_V2 = "low 0\nhigh 7\nmax 119\noom 2\noom_kill 1\noom_group_kill 0\n"
CONTROL_V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"


def use(monkeypatch: pytest.MonkeyPatch, *groups: Group) -> None:
    monkeypatch.setattr(oom, "own_groups", lambda: list(groups))


def test_kills_of_our_own_group_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.events").write_text(EVENTS_V2)
    use(monkeypatch, GroupV2(tmp_path))
    assert oom.kills() == 1
    (tmp_path / "memory.events").unlink()
    (tmp_path / "memory.oom_control").write_text(CONTROL_V1)
    use(monkeypatch, GroupV1(tmp_path))
    assert oom.kills() == 3


def test_where_nobody_counts_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, GroupV2(tmp_path))
    assert (oom.kills(), oom.limit_bytes()) == (None, None)
    use(monkeypatch)
    assert (oom.kills(), oom.limit_bytes()) == (None, None)


def test_the_least_limit_of_ours_and_of_those_above_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, above = tmp_path / "above/own", tmp_path / "above"
    own.mkdir(parents=True)
    (own / "memory.max").write_text("max\n")
    (above / "memory.max").write_text(f"{256 * MIB}\n")
    use(monkeypatch, GroupV2(own), GroupV2(above))
    assert oom.limit_bytes() == 256 * MIB
