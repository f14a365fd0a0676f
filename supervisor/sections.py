"""The sections of the settings file that have no other home yet, and what they add up to."""

from collections.abc import Mapping

import attrs
from attrs import validators

from storage.settings import StorageSettings
from supervisor.key_checks import CLOCK, check_zone, matches, one_of
from supervisor.policy import SupervisionSettings
from supervisor.trading_sections import StrategySettings, TradingSettings
from venues.settings import VenueSettings

ALERT_LEVELS = ("on", "silent", "off")
LISTEN = r"|(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}"


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
        validator=one_of("debug", "info", "warning", "error"),
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
        default="en", validator=one_of("en"), metadata={"help": "language of messages and pages"}
    )
    zone: str = attrs.field(
        default="UTC", validator=check_zone, metadata={"help": "time zone of reports, pages and trading days"}
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
class DoorSettings:
    """`[door]`: the page."""

    listen: str = attrs.field(
        default="127.0.0.1:8787",
        validator=matches(LISTEN, expected='HOST:PORT, or "" for no page'),
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
        validator=matches(CLOCK, expected='a time of day such as "08:00"'),
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
