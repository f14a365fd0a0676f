import configparser
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from setuptools import find_packages

import supervisor
from supervisor.cli import COMMANDS
from supervisor.reference import settings_reference

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
HANGING_S = 120  # only a guard against hanging
NOT_SHIPPED = ("tests*", "benchmarks*", "build*")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def packages() -> set[str]:
    return set(setup_cfg()["options"]["packages"].split())


def output_of(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=HANGING_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that nothing is left behind in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in {package.partition(".")[0] for package in packages()}:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    output_of(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    [file] = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_supervisor_is_ours_and_not_the_package_of_that_name() -> None:
    assert supervisor.__file__ is not None
    assert Path(supervisor.__file__) == ROOT / "supervisor/__init__.py"


def test_every_package_is_shipped() -> None:
    assert packages() == set(find_packages(str(ROOT), exclude=NOT_SHIPPED))


def test_every_room_is_under_the_import_contracts() -> None:
    rooms = {name for name in packages() if "." not in name}
    assert set(setup_cfg()["importlinter"]["root_packages"].split()) == rooms


def test_the_wheel_holds_every_module_and_schema_file(wheel: zipfile.ZipFile) -> None:
    expected = {
        str(file.relative_to(ROOT))
        for package in packages()
        for pattern in ("*.py", "schema/*.sql")
        for file in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert any(name.endswith(".sql") for name in expected)
    assert expected <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    rooms = {name for name in packages() if "." not in name}
    assert {top for top in tops if not top.endswith(".dist-info")} == rooms


def test_the_entry_point_resolves() -> None:
    [entry_point] = metadata.entry_points(group="console_scripts", name="marketd")
    assert callable(entry_point.load())


def test_the_installed_command_tells_its_commands(tmp_path: Path) -> None:
    text = output_of(SCRIPTS / "marketd", "--help", cwd=tmp_path)
    for command in COMMANDS:
        assert command in text


def test_the_command_line_imports_no_database_driver(tmp_path: Path) -> None:
    # PyMySQL and the cryptography its rsa extra brings are paid for only by who uses them.
    script = "import sys, supervisor.cli; print(*sys.modules, sep='\\n')"
    imported = set(output_of(sys.executable, "-c", script, cwd=tmp_path).split())
    assert not imported & {"pymysql", "cryptography"}


def test_the_settings_reference_is_current() -> None:
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_reference(), (
        "run: python -m supervisor.reference > docs/settings.md"
    )
