"""Control groups as files of a folder; the real ones are in tests/process/test_memory.py."""

from pathlib import Path

import attrs
import pytest

from supervisor.cgroups import Bound, own_groups

MIB = 1024 * 1024


@attrs.frozen
class Machine:
    """A folder that looks like /proc/self and /sys/fs/cgroup."""

    folder: Path

    def own(self, cgroup: str, *mounts: str) -> None:
        """Say which groups we are in, and what is mounted where."""
        (self.folder / "cgroup").write_text(cgroup)
        lines = [f"30 24 0:27 {mount.format(sys=self.folder / 'sys')}\n" for mount in mounts]
        (self.folder / "mountinfo").write_text(
            "23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n" + "".join(lines)
        )

    def group(self, path: str, **files: int | str) -> None:
        """Make a group; `memory_max` is its file memory.max."""
        folder = self.folder / "sys" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("memory_", "memory.", 1)).write_text(f"{content}\n")

    def bounds(self) -> list[Bound]:
        return [found for group in own_groups(self.folder) if (found := group.bound()) is not None]

    def figures(self) -> list[tuple[int, int]]:
        """Return limit and use of each bound."""
        return [(each.limit_bytes, each.used_bytes) for each in self.bounds()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


V2 = "/ {sys} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "/ {sys}/memory rw - cgroup cgroup rw,memory"
SERVICE = "system.slice/marketd.service"


def test_limits_of_our_group_and_of_those_above_are_found(machine: Machine) -> None:
    machine.own(f"0::/{SERVICE}\n", V2)
    machine.group(".")
    machine.group("system.slice", memory_max=800 * MIB, memory_high="max", memory_current=300 * MIB)
    machine.group(SERVICE, memory_max=200 * MIB, memory_high="max", memory_current=50 * MIB)
    assert machine.figures() == [(200 * MIB, 50 * MIB), (800 * MIB, 300 * MIB)]


def test_the_lower_of_high_and_max_counts(machine: Machine) -> None:
    machine.own(f"0::/{SERVICE}\n", V2)
    machine.group(SERVICE, memory_max=200 * MIB, memory_high=150 * MIB, memory_current=50 * MIB)
    assert machine.figures() == [(150 * MIB, 50 * MIB)]
    assert machine.bounds()[0].name.endswith("marketd.service/memory.high")


def test_groups_without_a_limit_bound_nothing_until_they_have_one(machine: Machine) -> None:
    machine.own(f"0::/{SERVICE}\n", V2)
    machine.group(SERVICE, memory_max="max", memory_high="max", memory_current=50 * MIB)
    groups = own_groups(machine.folder)
    assert [group.bound() for group in groups] == [None] * 3
    machine.group(SERVICE, memory_max=100 * MIB)
    assert groups[0].bound() is not None


STAT = f"""anon {90 * MIB}
file {110 * MIB}
shmem {5 * MIB}
inactive_file {60 * MIB}
active_file {30 * MIB}
slab_reclaimable {MIB}
slab_unreclaimable {MIB}"""


def test_page_cache_is_not_counted(machine: Machine) -> None:
    machine.own(f"0::/{SERVICE}\n", V2)
    machine.group(SERVICE, memory_max=200 * MIB, memory_current=200 * MIB, memory_stat=STAT)
    assert machine.figures() == [(200 * MIB, (200 - 60 - 30 - 1) * MIB)]


def test_a_container_sees_its_own_group_at_the_mount_point(machine: Machine) -> None:
    machine.own("0::/\n", V2)
    machine.group(".", memory_max=512 * MIB, memory_current=MIB)
    assert machine.figures() == [(512 * MIB, MIB)]


@pytest.mark.parametrize("root", ["/docker/0123", "/"])
def test_a_container_of_version_1_has_another_name_outside(machine: Machine, root: str) -> None:
    machine.own("4:memory:/docker/0123\n", f"{root} {{sys}}/memory ro - cgroup cgroup rw,memory")
    machine.group("memory", memory_limit_in_bytes=512 * MIB, memory_usage_in_bytes=MIB)
    assert machine.figures() == [(512 * MIB, MIB)]


def test_a_name_that_leads_out_of_the_mount_is_not_followed(machine: Machine) -> None:
    machine.own("0::/../elsewhere\n", V2)
    machine.group("../elsewhere", memory_max=MIB, memory_current=MIB)
    machine.group(".", memory_max=512 * MIB, memory_current=MIB)
    assert machine.figures() == [(512 * MIB, MIB)]


def test_version_1_counts_what_cannot_be_taken_back(machine: Machine) -> None:
    machine.own("9:name=systemd:/\n4:cpu,memory:/marketd\n0::/\n", V2, V1)
    machine.group("memory", memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=MIB)
    machine.group(
        "memory/marketd",
        memory_limit_in_bytes=200 * MIB,
        memory_usage_in_bytes=200 * MIB,
        memory_stat=f"rss 1\ntotal_cache {100 * MIB}\ntotal_rss {90 * MIB}\ntotal_shmem {5 * MIB}",
    )
    assert machine.figures() == [(200 * MIB, 95 * MIB)]


def test_a_system_without_control_groups_has_no_limits(machine: Machine) -> None:
    assert machine.bounds() == []


@pytest.mark.parametrize("cgroup", ["", "nonsense\n", "0::/a\n"])
def test_files_that_say_something_else_are_no_limits(machine: Machine, cgroup: str) -> None:
    machine.own(cgroup)
    assert machine.bounds() == []


def test_our_own_groups_can_be_read() -> None:
    for group in own_groups():
        bound = group.bound()
        assert bound is None or bound.used_bytes >= 0
