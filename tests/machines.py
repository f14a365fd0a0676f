"""Small servers for tests: a real systemd as PID 1 in namespaces of its own, over an overlay of `/`.

A machine boots in half a second, has a loopback interface and nothing else of a network, and changes
nothing of the host. It needs root. What a later machine is to find can be kept as a layer.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import pytest
from daemons import wait_until

ROOT = Path(__file__).parent.parent
BOOT = Path(__file__).with_name("boot_machine.sh")
PACKAGES = ROOT / ".cache/machine"  # what tests/fetch_packages.sh fetched
DEBS, WHEELS = PACKAGES / "debs", PACKAGES / "wheels"
# The service, or a database server with its unit.
NOT_ON_A_CLEAN_ONE = (
    "/opt/marketd",
    "/etc/marketd",
    "/lib/systemd/system/mariadb.service",
    "/lib/systemd/system/mysql.service",
)
BOOT_WITHIN_S = 60.0  # guards against hanging; a boot takes half a second, a stop one
STOP_WITHIN_S = 20.0
NAME = "marketd-machine-"  # of its folder and its cgroups, with something random behind it
LEFT_AFTER_S = 3600.0  # what is younger may be about to boot
SIGRTMIN_POWEROFF = signal.SIGRTMIN + 4  # systemd(1): starts poweroff.target
# What a command inside sees; pip finds only what was fetched before.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "/packages/wheels",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "SYSTEMD_PAGER": "",
}


def demand_machines() -> None:
    """Skip the test where no machine can boot, and say why; under CI that is a failure."""
    if os.geteuid() != 0:
        why = "a systemd in namespaces needs root"
    elif not Path("/lib/systemd/systemd").exists():
        why = "systemd is not installed: make machine"
    elif not (PACKAGES / "fetched").exists():
        why = "the packages for a machine are not there: make machine"
    elif taken := [path for path in NOT_ON_A_CLEAN_ONE if Path(path).exists()]:
        why = f"a machine over this host would not be a clean one: {', '.join(taken)} is there"
    else:
        return
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@attrs.define(kw_only=True, eq=False)
class Machine:
    """A running one, looked at from the host."""

    folder: Path
    launcher: "subprocess.Popen[bytes]"
    init: int  # the pid of its systemd, as the host counts
    cgroups: Sequence[Path]  # one a hierarchy: limits written here hold for the whole machine

    def run(
        self,
        *words: str | Path,
        check: bool = True,
        text: str | None = None,
        environment: Mapping[str, str] = {},  # never written to
        within_s: float = 300.0,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as root; `text` is its standard input. Fail where it fails."""
        done = subprocess.run(
            self.command(*words, environment=environment),
            input=text, stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True, text=True, errors="replace", check=False, timeout=within_s,
        )  # fmt: skip
        if check:
            said = f"{done.stdout}\n{done.stderr}".strip()
            assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{said}"
        return done

    def command(self, *words: str | Path, environment: Mapping[str, str] = {}) -> list[str]:
        """Return the command line by which the host runs `words` inside."""
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--root"]
        assigned = [f"{name}={value}" for name, value in {**ENVIRONMENT, **environment}.items()]
        enter = ["nsenter", "--target", str(self.init), *namespaces, "--"]
        return [*enter, "env", "--ignore-environment", "--chdir=/", *assigned, *map(str, words)]

    def said(self, *words: str | Path, **options: object) -> str:
        """Run a command inside and return its standard output, stripped."""
        return self.run(*words, **options).stdout.strip()  # type: ignore[arg-type]

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit, as `systemctl show` tells it."""
        return self.said("systemctl", "show", "--value", "--property", name, unit)

    def wait_shown(self, unit: str, name: str, value: str, *, within_s: float = BOOT_WITHIN_S) -> None:
        """Wait until a unit's property has this value."""
        wait_until(
            lambda: self.show(unit, name) == value, what=f"{unit}: {name} is {value}", within_s=within_s
        )

    def path(self, path: str | Path) -> Path:
        """Return where the host sees a file of the machine. Absolute links in it lead astray."""
        return Path(f"/proc/{self.init}/root") / str(path).lstrip("/")

    def write(self, path: str | Path, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the machine, with the folders above it."""
        found = self.path(path)
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(text, encoding="utf-8")
        found.chmod(mode)

    def console(self) -> str:
        """Return what systemd itself said."""
        return Path(f"{self.folder}.console").read_text(errors="replace")

    def stop(self) -> None:
        """Shut it down in order; one that does not end is killed."""
        if self.launcher.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, SIGRTMIN_POWEROFF)
            try:
                self.launcher.wait(timeout=STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.cut_power()

    def cut_power(self) -> None:
        """End it at once, with all that runs in it."""
        self.launcher.kill()  # unshare(1) takes its child with it
        self.launcher.wait()

    def wait_booted(self) -> None:
        """Wait until everything that starts at boot has started."""
        wait_until(self._is_booted, what="the machine has booted", within_s=BOOT_WITHIN_S)

    def _is_booted(self) -> bool:
        assert self.launcher.poll() is None, f"the machine did not boot:\n{self.console()}"
        done = self.run("systemctl", "is-system-running", check=False)
        return done.stdout.strip() in {"running", "degraded"}


@contextlib.contextmanager
def running_machine(
    *,
    layer: Path | None = None,
    keep: Path | None = None,
    binds: Mapping[Path, str] = {},  # never written to
) -> Iterator[Machine]:
    """Boot a machine and shut it down afterwards.

    `layer` is the folder of what an earlier machine wrote, which this one begins with a copy of;
    `keep` is a folder for what this one writes. The checkout is at /src, fetched packages are at
    /packages, `binds` are more folders of the host (path there: path inside), all read-only.
    """
    folder = Path(tempfile.mkdtemp(prefix=NAME))
    Path(f"{folder}.console").touch()
    if keep is not None:
        for each in (keep, Path(f"{keep}.work")):
            each.mkdir(parents=True)
    seen = {ROOT: "/src", PACKAGES: "/packages", **binds}
    cgroups = make_cgroups(folder.name)
    try:
        machine = _boot(
            folder=folder,
            cgroups=cgroups,
            overlay=["-" if each is None else str(each) for each in (layer, keep)],
            binds=[f"{source}:{target}" for source, target in seen.items()],
        )
        try:
            machine.wait_booted()
            yield machine
            machine.stop()
        finally:
            machine.cut_power()
    finally:
        _remove_cgroups(cgroups)
        folder.rmdir()
        Path(f"{folder}.console").unlink()


def kept_layer(folder: Path, *, make: Callable[[Machine], None]) -> Path:
    """Return the layer of a machine that `make` furnished; the first of all test processes makes it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = Path(f"{folder}.done")
        if not done.exists():
            for half_made in (folder, Path(f"{folder}.work")):
                shutil.rmtree(half_made, ignore_errors=True)
            with running_machine(keep=folder) as machine:
                make(machine)
            done.touch()
    return folder


def _boot(*, folder: Path, cgroups: Sequence[Path], overlay: list[str], binds: list[str]) -> Machine:
    join = 'for each in $CGROUPS; do echo $$ >"$each/cgroup.procs"; done; exec "$@"'
    namespaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--uts", "--ipc", "--cgroup", "--net"]
    console = Path(f"{folder}.console")
    with console.open("ab") as file:
        launcher = subprocess.Popen(
            # the machine ends with the tests, however they end
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", join, "sh",
             "unshare", *namespaces, "--", BOOT, folder, *overlay, *binds],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file,
            env={**os.environ, "CGROUPS": " ".join(map(str, cgroups))},
        )  # fmt: skip
    children: list[int] = []
    while not children:  # of `unshare`, which has one at once or ends
        assert launcher.poll() is None, f"no machine:\n{console.read_text()}"
        with contextlib.suppress(FileNotFoundError):
            children = [
                int(pid)
                for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
            ]
    return Machine(folder=folder, launcher=launcher, init=children[0], cgroups=cgroups)


def put_packages(machine: Machine) -> None:
    """Have apt find the fetched packages, as if it had downloaded them itself."""
    machine.run("sh", "-c", "cp /packages/debs/*.deb /var/cache/apt/archives/")


# --- cgroups ----------------------------------------------------------------------------------


def make_cgroups(name: str) -> list[Path]:
    """Make one for the machine in each hierarchy of the host, below the root of each."""
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        controllers = line.split(":")[1]
        top = Path("/sys/fs/cgroup")
        if controllers:
            top /= controllers.removeprefix("name=")
        elif (top / "unified").is_dir():
            top /= "unified"
        if not top.is_dir():
            continue
        (top / name).mkdir()
        made.append(top / name)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1 lets nobody in without
            if (top / name / setting).exists() and not (top / name / setting).read_text().strip():
                (top / name / setting).write_text((top / setting).read_text())
    return made


def _remove_cgroups(cgroups: Sequence[Path]) -> None:
    """Remove them as soon as the machine's last process has ended: a killed one takes a moment."""
    for top in cgroups:
        wait_until(functools.partial(_is_removed, top), what=f"{top} is empty", within_s=STOP_WITHIN_S)


def _is_removed(top: Path) -> bool:
    for found, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # somebody is still in it, or it went by itself
            Path(found).rmdir()
    return not top.exists()


def sweep() -> None:
    """Remove what killed test runs left: nobody is in it any more, and it is no news."""
    old = time.time() - LEFT_AFTER_S
    # os.walk, not glob: it takes no notice of what another test process removes meanwhile
    below = [(Path(found), names) for found, names, _ in os.walk("/sys/fs/cgroup")]
    tops = [folder / name for folder, names in below for name in names if name.startswith(NAME)]
    for top in tops:
        with contextlib.suppress(OSError):  # another one sweeps too
            if top.stat().st_mtime < old and not any(each.read_text() for each in top.rglob("cgroup.procs")):
                _is_removed(top)
    in_use = {top.name for top in tops if top.exists()}
    for console in Path(tempfile.gettempdir()).glob(f"{NAME}*.console"):
        folder = console.with_suffix("")
        with contextlib.suppress(OSError):
            if console.stat().st_mtime < old and folder.name not in in_use:
                folder.rmdir()
                console.unlink()
