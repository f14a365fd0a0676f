"""What the other tests of this folder take for granted."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from machines import LEFT_AFTER_S, NAME, Machine, kept_layer, make_cgroups, running_machine, sweep


def test_machine_has_no_network_but_its_own(machine: Machine) -> None:
    assert machine.said("sh", "-c", "tail -n +3 /proc/net/dev | cut -d: -f1").split() == ["lo"]
    assert machine.run("ping", "-c1", "-w1", "192.0.2.1", check=False).returncode != 0


def test_later_machine_finds_what_a_layer_keeps(tmp_path: Path) -> None:
    def furnish(machine: Machine) -> None:
        machine.write("/etc/systemd/system/kept.service", "[Service]\nExecStart=sleep infinity\n"
                      "[Install]\nWantedBy=multi-user.target\n")  # fmt: skip
        machine.run("systemctl", "enable", "kept")

    layer = kept_layer(tmp_path / "layer", make=furnish)
    with running_machine(layer=layer) as machine:
        assert machine.show("kept", "ActiveState") == "active"
        machine.run("rm", "/etc/systemd/system/kept.service")
    with running_machine(layer=layer) as machine:
        assert machine.show("kept", "ActiveState") == "active"
    assert not Path("/etc/systemd/system/kept.service").exists()


def test_machine_that_ends_leaves_nothing_of_it(tmp_path: Path) -> None:
    with running_machine() as machine:
        machine.run("systemd-run", "--unit=sleeper", "sleep", "infinity")
        pid = int(machine.show("sleeper", "MainPID"))
        assert pid > 1
        folder, cgroups, init = machine.folder, machine.cgroups, machine.init
    assert not folder.exists()
    assert [each for each in cgroups if each.exists()] == []
    with pytest.raises(FileNotFoundError):
        Path(f"/proc/{init}/status").read_text()
    assert str(folder) not in subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout


def test_what_a_killed_run_of_the_tests_left_is_swept_and_nothing_else() -> None:
    with running_machine() as machine:
        old, new = (Path(tempfile.mkdtemp(prefix=NAME)) for _ in range(2))
        left = {each: [each, Path(f"{each}.console"), *make_cgroups(each.name)] for each in (old, new)}
        for console in (left[old][1], left[new][1]):
            console.touch()
        an_age_ago = time.time() - 2 * LEFT_AFTER_S
        for path in (*left[old], *machine.cgroups, Path(f"{machine.folder}.console")):
            os.utime(path, (an_age_ago, an_age_ago))
        sweep()
        assert [path for path in left[old] if path.exists()] == []
        assert all(path.exists() for path in (*left[new], *machine.cgroups, machine.folder))
        for path in left[new]:
            os.utime(path, (an_age_ago, an_age_ago))
        sweep()
        assert [path for path in left[new] if path.exists()] == []
