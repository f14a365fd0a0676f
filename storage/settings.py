"""`[storage]`: where prices are kept, and how fast they get there."""

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class StorageSettings:
    """The settings of the writer and its database."""

    url: str | None = attrs.field(
        default=None,
        metadata={
            "help": "sqlite:///PATH or mysql://USER@HOST[:PORT]/NAME[?unix_socket=PATH]; "
            "default: the file marketd.db in the state directory"
        },
    )
    password_file: str | None = attrs.field(
        default=None, metadata={"help": "file with the database password, readable by nobody else"}
    )
    flush_after_ms: int = attrs.field(
        default=100,
        validator=[validators.ge(1), validators.le(60_000)],
        metadata={"help": "ticks are accepted this often"},
    )
    store_every_ms: int = attrs.field(
        default=2000,
        validator=[validators.ge(1), validators.le(600_000)],
        metadata={"help": "at most one transaction in this time"},
    )
    flush_rows: int = attrs.field(
        default=20_000,
        validator=[validators.ge(1), validators.le(200_000)],
        metadata={"help": "so many waiting rows are stored at once; also a transaction's bound"},
    )
    read_timeout_s: float = attrs.field(
        default=30.0,
        validator=[validators.ge(1), validators.le(3600)],
        metadata={"help": "an answer of the database that takes longer is given up"},
    )
    journal_max_mb: int = attrs.field(
        default=1024, validator=validators.ge(1), metadata={"help": "bound of the journal on disk"}
    )
    keep_ticks_days: int = attrs.field(
        default=14, validator=validators.ge(1), metadata={"help": "older ticks are deleted"}
    )
    keep_candles_days: int = attrs.field(
        default=3650, validator=validators.ge(1), metadata={"help": "older candles are deleted"}
    )
    timeframes_s: list[int] = attrs.field(
        factory=lambda: [60, 300],
        validator=validators.deep_iterable(validators.ge(1)),
        metadata={"help": "lengths of the candles built"},
    )
