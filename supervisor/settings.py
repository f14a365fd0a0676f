"""Finds and reads the settings file. What a message calls wrong it names: file, key and value."""

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from domain.errors import ConfigError
from storage.settings import StorageSettings
from supervisor.market_specs import MarketSpec, check_across, market_specs
from supervisor.policy import SupervisionSettings
from supervisor.read_section import nearest, read_named, read_section, shown
from supervisor.sections import AlertsSettings, DoorSettings, MarketsSettings, ServiceSettings, Settings
from supervisor.trading_sections import StrategySettings, TradingSettings
from venues.settings import VenueSettings

__all__ = [
    "MarketSpec",
    "Settings",
    "find_config",
    "load",
    "market_specs",
    "read_settings",
    "simulated_settings",
    "state_dir",
    "without_effect",
]

FILE_NAME = "marketd.toml"
# The service's own, as deploy/marketd.service and deploy/install.sh have them.
SERVICE_FILE = Path("/etc/marketd") / FILE_NAME
SERVICE_STATE_DIR = Path("/var/lib/marketd")
SERVICE_PASSWORD = Path("/etc/marketd/db-password")  # for root; the service gets it as a credential
SIMULATED_VENUE = "sim"
SIMULATED_PROTOCOL = "olymptrade"
SIMULATED_STRATEGY = "streak"  # so that a newcomer sees trades within minutes
SIMULATED_TOKEN = "simulated"  # noqa: S105 - no secret: the simulated venue takes any

SECTIONS: Mapping[str, type[Any]] = {
    "service": ServiceSettings,
    "storage": StorageSettings,
    "supervision": SupervisionSettings,
    "trading": TradingSettings,
    "door": DoorSettings,
    "alerts": AlertsSettings,
}
NAMED_SECTIONS: Mapping[str, type[Any]] = {"venues": VenueSettings, "strategies": StrategySettings}

# What is accepted but does nothing yet: whole sections, and keys of the others.
UNUSED_SECTIONS = ("door", "alerts")
UNUSED_KEYS = {
    "service": ("language",),
    "venues": ("account",),
    "trading": ("count_foreign_trades",),
}


# --- where things are -------------------------------------------------------------------------


def find_config(explicit: Path | None) -> Path:
    """Return the settings file to read: the one given, else the first there is.

    Raises `ConfigError` that names those tried where there is none.
    """
    if explicit is not None:
        return explicit
    places = (Path(FILE_NAME), Path.home() / ".config/marketd" / FILE_NAME, SERVICE_FILE)
    for place in places:
        if _is_there(place):
            return place
    tried = ", ".join(str(place) for place in places)
    raise ConfigError(f"no settings file; tried {tried}. `marketd init` writes one")


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except PermissionError:  # a folder of somebody else's: `sudo -u rita` in root's home
        return place == SERVICE_FILE  # reading it will say so


def state_dir(explicit: Path | None, settings: Settings) -> Path:
    """Return the state directory, absolute: as given, as set, $STATE_DIRECTORY, or the user's own."""
    if explicit is not None:
        return explicit.expanduser().absolute()
    if settings.service.state_dir is not None:
        return Path(settings.service.state_dir).expanduser().absolute()
    # systemd separates several directories by colons; the first is ours.
    from_service_manager = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if from_service_manager:
        return Path(from_service_manager).absolute()
    return Path.home() / ".local/state/marketd"


# --- what they say ----------------------------------------------------------------------------


def load(path: Path) -> Settings:
    """Return the settings in a file; raise `ConfigError` that names file, key and value."""
    try:
        # Some editors put a byte order mark first.
        table = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: is not TOML: {exc}") from exc
    try:
        settings = read_settings(table)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    return _in_service(settings) if path.absolute() == SERVICE_FILE else settings


def _in_service(settings: Settings) -> Settings:
    """Return the service's settings with what its manager would have said: state directory and password."""
    service, storage = settings.service, settings.storage
    if service.state_dir is None and "STATE_DIRECTORY" not in os.environ:
        service = attrs.evolve(service, state_dir=str(SERVICE_STATE_DIR))
    has_password = storage.password_file is not None or "CREDENTIALS_DIRECTORY" in os.environ
    if not has_password and os.access(SERVICE_PASSWORD, os.R_OK):
        storage = attrs.evolve(storage, password_file=str(SERVICE_PASSWORD))
    return attrs.evolve(settings, service=service, storage=storage)


def read_settings(table: Mapping[str, Any]) -> Settings:
    """Return the settings of a parsed file; raise `ConfigError` that names key and value."""
    values: dict[str, Any] = {}
    for name, content in table.items():
        if name in SECTIONS:
            values[name] = read_section(SECTIONS[name], content, where=f"[{name}]")
        elif name in NAMED_SECTIONS:
            values[name] = read_named(NAMED_SECTIONS[name], content, kind=name)
        elif name == "markets":
            values[name] = _read_markets(content)
        else:
            known = (*SECTIONS, *NAMED_SECTIONS, "markets")
            raise ConfigError(f"[{name}]: unknown section{nearest(name, known)}")
    settings = Settings(**values, unused=tuple(without_effect(table)))
    check_across(settings)
    return settings


def _read_markets(content: object) -> tuple[MarketsSettings, ...]:
    if not isinstance(content, list):
        raise ConfigError(f"[markets] = {shown(content)}: expected sections [[markets]], in double brackets")
    return tuple(
        read_section(MarketsSettings, table, where=f"[[markets]] #{number}")
        for number, table in enumerate(content, start=1)
    )


def without_effect(table: Mapping[str, Any]) -> list[str]:
    """Return the sections and keys of a parsed file that this version accepts but does not use."""
    found = [f"[{name}]" for name in UNUSED_SECTIONS if name in table]
    for name, keys in UNUSED_KEYS.items():
        for where, section in _tables(name, table.get(name, {})):
            found += [f"{where} {key}" for key in keys if key in section]
    return found


def _tables(name: str, content: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return each table of a section with what messages call it."""
    if name in NAMED_SECTIONS:
        return [(f"[{name}.{key}]", table) for key, table in content.items()]
    if name == "markets":
        return [(f"[[markets]] #{number}", table) for number, table in enumerate(content, start=1)]
    return [(f"[{name}]", content)]


# --- the simulation ---------------------------------------------------------------------------


def simulated_settings(base: Settings | None, *, url: str) -> Settings:
    """Return the settings of `run --simulated`: 27 markets of a simulator at `url`, embedded database.

    What `base` says of the process and of supervision holds; its venues, markets, strategies and
    database do not: simulated prices never get among real ones.
    """
    from venues.simulated.prices import FX_PAIRS

    real = base or Settings()
    return attrs.evolve(
        real,
        storage=attrs.evolve(real.storage, url=None, password_file=None),
        venues={SIMULATED_VENUE: VenueSettings(protocol=SIMULATED_PROTOCOL, url=url)},
        markets=(
            MarketsSettings(venue=SIMULATED_VENUE, symbols=tuple(FX_PAIRS), strategies=(SIMULATED_STRATEGY,)),
        ),
        strategies={
            SIMULATED_STRATEGY: StrategySettings(
                kind="streak", expiry_s=60, stake=Decimal(10), options={"length": 3}
            )
        },
        trading=attrs.evolve(real.trading, mode="paper"),
    )
