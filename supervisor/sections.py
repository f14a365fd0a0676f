"""The sections of the settings file that have no other home yet, and what they add up to."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs
from attrs import validators

from storage.settings import StorageSettings
from supervisor.policy import SupervisionSettings
from venues.settings import VenueSettings

ALERT_LEVELS = ("on", "silent", "off")
CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
LISTEN = r"|(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}"

Validator = Callable[[object, object, Any], None]


def _one_of(*allowed: str) -> Validator:
    def check(_: object, __: object, value: str) -> None:
        if value not in allowed:
            raise ValueError("expected " + " or ".join(f'"{name}"' for name in allowed))

    return check


def _matches(pattern: str, *, expected: str) -> Validator:
    def check(_: object, __: object, value: str | None) -> None:
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}")

    return check


def check_zone(_: object, __: object, value: str | None) -> None:
    """Raise ValueError unless it is a time zone of this system, or None."""
    if value in (None, "UTC"):  # UTC is there on systems without zone data too
        return
    import zoneinfo  # 0.2 MiB, with sysconfig

    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown; leads out of the zones; is a folder
        raise ValueError('expected a time zone such as "UTC" or "Europe/Berlin"') from None


def _at_least(bound: int) -> Any:
    return validators.optional(validators.ge(bound))


@attrs.frozen(kw_only=True)
class ServiceSettings:
    """`[service]`: the process itself."""

    state_dir: str | None = attrs.field(
        default=None,
        metadata={
            "help": "where state is kept; default: $STATE_DIRECTORY, else ~/.local/state/marketd, "
            "of /etc/marketd/marketd.toml /var/lib/marketd"
        },
    )
    log_level: str = attrs.field(
        default="info",
        validator=_one_of("debug", "info", "warning", "error"),
        metadata={"help": "least level that is logged: debug, info, warning or error"},
    )
    record_frames: str = attrs.field(
        default="", metadata={"help": 'file to which every frame is written, secrets blanked; "" for none'}
    )
    memory_max_mb: int = attrs.field(
        default=0,
        validator=validators.ge(0),
        metadata={
            "help": "resident memory from 85 % of which on backfill waits and caches shrink; "
            "0: only the limits of the control group count, which always do"
        },
    )
    language: str = attrs.field(
        default="en", validator=_one_of("en"), metadata={"help": "language of messages and pages"}
    )
    zone: str = attrs.field(
        default="UTC", validator=check_zone, metadata={"help": "time zone of reports and pages"}
    )


@attrs.frozen(kw_only=True)
class MarketsSettings:
    """`[[markets]]`: markets of one venue that share their settings."""

    venue: str = attrs.field(metadata={"help": "NAME of a [venues.NAME] section"})
    symbols: tuple[str, ...] = attrs.field(metadata={"help": "symbols as the venue spells them"})
    strategies: tuple[str, ...] = attrs.field(
        default=(), metadata={"help": "NAMEs of the [strategies.NAME] sections that decide on them"}
    )
    autostart: bool = attrs.field(default=True, metadata={"help": "whether they run from the first start on"})
    stale_after_s: float | None = attrs.field(
        default=None,
        validator=validators.optional(validators.gt(0)),
        metadata={"help": "silence that makes them stale; default: the venue section's"},
    )


@attrs.frozen(kw_only=True)
class StrategySettings:
    """`[strategies.NAME]`: one strategy; keys beside these are the strategy's own."""

    kind: str = attrs.field(metadata={"help": 'a built-in strategy, or "file.py:Class"'})
    expiry_s: int | None = attrs.field(
        default=None, validator=_at_least(1), metadata={"help": "duration of its trades"}
    )
    stake: Decimal | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "stake of a trade, in the account's currency"}
    )
    options: Mapping[str, Any] = attrs.field(factory=dict, metadata={"own_keys": "any"})


@attrs.frozen(kw_only=True)
class TradingSettings:
    """`[trading]`: what all strategies together may do."""

    mode: str = attrs.field(
        default="paper", validator=_one_of("paper", "demo", "real"), metadata={"help": "paper, demo or real"}
    )
    currency: str | None = attrs.field(
        default=None,
        validator=_matches(r"[A-Z]{3,8}", expected='a currency code such as "EUR"'),
        metadata={"help": "currency of the account"},
    )
    zone: str | None = attrs.field(
        default=None,
        validator=check_zone,
        metadata={"help": "time zone of trading days; default: the service's"},
    )
    max_stake: Decimal | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "largest stake of one trade"}
    )
    max_open_trades: int | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "most trades open at a time"}
    )
    max_open_per_market: int | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "most trades open at a time on one market"}
    )
    max_trades_per_day: int | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "most trades opened in a day"}
    )
    max_daily_loss: Decimal | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "most that may be lost in a day"}
    )
    max_losses_in_a_row: int | None = attrs.field(
        default=None, validator=_at_least(1), metadata={"help": "so many losses in a row make a pause"}
    )
    pause_min: float | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "length of that pause in minutes"}
    )
    cooldown_s: float | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "least time between two trades on one market"}
    )
    min_payout_percent: float | None = attrs.field(
        default=None, validator=_at_least(0), metadata={"help": "trades that pay less are refused"}
    )
    trade_between: str | None = attrs.field(
        default=None,
        validator=_matches(f"{CLOCK}-{CLOCK}", expected='hours such as "08:00-17:30"'),
        metadata={"help": 'hours in which trades are opened, such as "08:00-17:30"'},
    )
    count_foreign_trades: bool = attrs.field(
        default=False, metadata={"help": "whether deals opened elsewhere count against the limits"}
    )


@attrs.frozen(kw_only=True)
class DoorSettings:
    """`[door]`: the page."""

    listen: str = attrs.field(
        default="127.0.0.1:8787",
        validator=_matches(LISTEN, expected='HOST:PORT, or "" for no page'),
        metadata={"help": 'HOST:PORT of the page; "" for none'},
    )
    token_file: str | None = attrs.field(
        default=None, metadata={"help": "file with the page's token, readable by nobody else"}
    )


@attrs.frozen(kw_only=True)
class AlertsSettings:
    """`[alerts]`: who is told what; every other key is a type of alert: on, silent or off."""

    urls_file: str | None = attrs.field(
        default=None, metadata={"help": "file with the addresses told, readable by nobody else"}
    )
    digest_at: str | None = attrs.field(
        default=None,
        validator=_matches(CLOCK, expected='a time of day such as "08:00"'),
        metadata={"help": 'time of the daily summary, such as "08:00"'},
    )
    heartbeat_url: str | None = attrs.field(
        default=None, metadata={"help": "address called regularly while all is well"}
    )
    levels: Mapping[str, str] = attrs.field(factory=dict, metadata={"own_keys": ALERT_LEVELS})


@attrs.frozen(kw_only=True)
class Settings:
    """A whole settings file, checked. `unused` names the keys in it that have no effect yet."""

    service: ServiceSettings = attrs.field(factory=ServiceSettings)
    storage: StorageSettings = attrs.field(factory=StorageSettings)
    supervision: SupervisionSettings = attrs.field(factory=SupervisionSettings)
    venues: Mapping[str, VenueSettings] = attrs.field(factory=dict)
    markets: tuple[MarketsSettings, ...] = ()
    strategies: Mapping[str, StrategySettings] = attrs.field(factory=dict)
    trading: TradingSettings = attrs.field(factory=TradingSettings)
    door: DoorSettings = attrs.field(factory=DoorSettings)
    alerts: AlertsSettings = attrs.field(factory=AlertsSettings)
    unused: tuple[str, ...] = attrs.field(default=(), eq=False)
