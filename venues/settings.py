"""`[venues.NAME]`: what the settings say of one venue."""

import attrs
from attrs import validators


def _check_source(_: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value not in (None, "trades", "quotes"):
        raise ValueError('expected "trades" or "quotes"')


def _check_dialect(_: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value not in (None, "new", "legacy"):
        raise ValueError('expected "new" or "legacy"')


def _check_positive(_: object, field: "attrs.Attribute[float]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError("expected a number above 0")


@attrs.frozen(kw_only=True)
class VenueSettings:
    """`[venues.NAME]`: one venue and how to reach it."""

    protocol: str = attrs.field(metadata={"help": "which protocol it speaks"})
    url: str | None = attrs.field(default=None, metadata={"help": "web-socket address; the venue's own"})
    rest_url: str | None = attrs.field(
        default=None, metadata={"help": "address of its HTTP interface; the venue's own, or beside url"}
    )
    dialect: str | None = attrs.field(
        default=None, validator=_check_dialect, metadata={"help": 'of Deriv: "new" or "legacy" (v3)'}
    )
    app_id: str | None = attrs.field(
        default=None, metadata={"help": "of Deriv's legacy dialect: the id of a registered application"}
    )
    token_file: str | None = attrs.field(
        default=None,
        metadata={"help": "file with the account's token; default: what `marketd token set` wrote"},
    )
    source: str | None = attrs.field(
        default=None, validator=_check_source, metadata={"help": "what a tick is: trades or quotes"}
    )
    stale_after_s: float = attrs.field(
        default=60.0, validator=_check_positive, metadata={"help": "silence that makes a market stale"}
    )
    markets_per_connection: int | None = attrs.field(
        default=None,
        validator=validators.optional(validators.ge(1)),
        metadata={"help": "markets that share a socket"},
    )
    account: str | None = attrs.field(default=None, metadata={"help": "account to trade on"})
    connect_timeout_s: float = attrs.field(
        default=10.0, validator=_check_positive, metadata={"help": "deadline of a whole connect"}
    )
