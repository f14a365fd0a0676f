"""Reads one table of a settings file into its attrs class, and names key and value where it cannot."""

import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import attrs
import msgspec

from domain.errors import ConfigError

Section = TypeVar("Section")

SHOWN_CHARACTERS = 60  # of a wrong value


def read_section(cls: type[Section], table: object, *, where: str) -> Section:
    """Return the section that `table` holds.

    `where` is how messages call it, such as `[storage]`. Raises `ConfigError` for a key that is
    unknown, missing, of a wrong type or out of range.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where} = {shown(table)}: expected a section")
    fields = {field.name: field for field in attrs.fields(attrs.resolve_types(cls))}  # type: ignore[arg-type, type-var]
    rest_name = own_keys_field(cls)
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in table.items():
        if key in fields and key != rest_name:
            values[key] = _read_value(fields[key], value, where=f"{where} {key}")
        elif rest_name:
            own[key] = _check_own(fields[rest_name], value, where=f"{where} {key}")
        else:
            # Without its value: it may be a secret that does not belong here.
            raise ConfigError(f"{where} {key}: unknown key{nearest(key, fields)}")
    if rest_name:
        values[rest_name] = own
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in values:
            raise ConfigError(f"{where} {name}: missing")
    return cls(**values)


def own_keys_field(cls: type[Any]) -> str:
    """Return the field that takes a section's free keys; "" where every key has a field."""
    names: list[str] = [field.name for field in attrs.fields(cls) if "own_keys" in field.metadata]
    return names[0] if names else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "…"?` with the known name most like `name`, or nothing."""
    import difflib  # by the message of a mistake only

    found = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{found[0]}"?' if found else ""


def shown(value: object) -> str:
    """Return a wrong value as a message shows it: short, and never a password inside a URL."""
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, _, rest = value.partition("://")
        value = f"{scheme}://…@{rest.rpartition('@')[2]}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def inner_section(type_: Any) -> type[Any] | None:
    """Return the attrs class that a key's table is read into, None where its value is no table."""
    found = [part for part in (type_, *get_args(type_)) if isinstance(part, type) and attrs.has(part)]
    return found[0] if found else None


def _read_value(field: "attrs.Attribute[Any]", value: object, *, where: str) -> Any:
    if (inner := inner_section(field.type)) is not None:
        return read_section(inner, value, where=where)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} = {shown(value)}: expected a finite number")
    try:
        converted = msgspec.convert(value, field.type, strict=True)
        if field.validator is not None:
            field.validator(None, field, converted)
    except (ValueError, TypeError) as exc:  # msgspec.ValidationError is a ValueError
        raise ConfigError(f"{where} = {shown(value)}: {_reason(exc, field, value)}") from exc
    return converted


def _reason(error: Exception, field: "attrs.Attribute[Any]", value: object) -> str:
    """Return what msgspec or an attrs validator complains of, without what our message says already."""
    if isinstance(field.type, enum.EnumMeta):
        return f"expected {' or '.join(repr(str(each.value)) for each in field.type)}"
    text = str(error.args[0]).replace("`", "").replace(" | null", "")
    return text.removeprefix(f"'{field.name}' ").removesuffix(f": {value}")


def _check_own(field: "attrs.Attribute[Any]", value: object, *, where: str) -> object:
    allowed: tuple[str, ...] | str = field.metadata["own_keys"]
    if allowed != "any" and value not in allowed:
        raise ConfigError(f"{where} = {shown(value)}: expected {' or '.join(map(repr, allowed))}")
    return value


def read_named(cls: type[Section], tables: object, *, kind: str) -> Mapping[str, Section]:
    """Return the sections `[kind.NAME]` by name."""
    if not isinstance(tables, dict):
        raise ConfigError(f"{kind} = {shown(tables)}: expected sections [{kind}.NAME]")
    return {name: read_section(cls, table, where=f"[{kind}.{name}]") for name, table in tables.items()}
