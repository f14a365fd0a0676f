"""The settings reference, made from the sections' classes: `python -m supervisor.reference`."""

import json
from collections.abc import Iterator
from decimal import Decimal
from types import UnionType
from typing import Any, get_args, get_origin

import attrs

from storage.settings import StorageSettings
from supervisor.policy import SupervisionSettings
from supervisor.read_section import inner_section
from supervisor.sections import AlertsSettings, DoorSettings, MarketsSettings, ServiceSettings
from supervisor.settings import UNUSED_KEYS, UNUSED_SECTIONS
from supervisor.trading_sections import StrategySettings, TradingSettings
from venues.settings import VenueSettings

# In the order of a settings file: heading, name as in UNUSED_KEYS, class.
SECTION_ORDER: tuple[tuple[str, str, type[Any]], ...] = (
    ("[service]", "service", ServiceSettings),
    ("[storage]", "storage", StorageSettings),
    ("[supervision]", "supervision", SupervisionSettings),
    ("[venues.NAME]", "venues", VenueSettings),
    ("[[markets]]", "markets", MarketsSettings),
    ("[strategies.NAME]", "strategies", StrategySettings),
    ("[trading]", "trading", TradingSettings),
    ("[door]", "door", DoorSettings),
    ("[alerts]", "alerts", AlertsSettings),
)

TYPE_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "Decimal": "number",
    "bool": "true or false",
}

HEAD = """# Settings

Made from the classes in the source by `python -m supervisor.reference > docs/settings.md`; do not edit.

Settings are TOML. The file is the one given with `--config`, else `./marketd.toml`, else
`~/.config/marketd/marketd.toml`, else `/etc/marketd/marketd.toml`; `marketd init` writes the first.
Unknown keys are errors, and every error names the file, the key and the value it saw. Secrets never stand
in it: they come from files that nobody else can read. "Not used yet" means: accepted, checked, and said in
the log once.
"""


@attrs.frozen(kw_only=True)
class KeyHelp:
    """One key: its name, type for people, default as TOML ("" where none) and what it is for."""

    name: str
    type_text: str
    default: str
    is_required: bool
    help_text: str


def keys_of(cls: type[Any]) -> Iterator[KeyHelp]:
    """Yield the keys of a section, in its order."""
    for field in attrs.fields(attrs.resolve_types(cls)):
        if "own_keys" in field.metadata:
            continue
        default = _default(field)
        yield KeyHelp(
            name=field.name,
            type_text=_type_text(field.type),
            default="" if default is attrs.NOTHING or default is None else as_toml(default),
            is_required=default is attrs.NOTHING,
            help_text=field.metadata["help"],
        )


def promise_of(cls: type[Any]) -> str:
    """Return the first sentence of a section's docstring, which may begin with the section's name."""
    promise = (cls.__doc__ or "").partition("\n")[0]
    if promise.startswith("`["):
        promise = promise.partition(": ")[2]
    return promise[:1].upper() + promise[1:]


def as_toml(value: object) -> str:
    """Return a key's value as TOML writes it; text, numbers, booleans and lists of them."""
    # JSON's spelling of these is TOML's, but for a character that TOML wants escaped.
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )


def settings_reference() -> str:
    """Return `docs/settings.md`."""
    return "\n".join([HEAD, *(_section_text(*entry) for entry in SECTION_ORDER)])


def _section_text(heading: str, name: str, cls: type[Any]) -> str:
    lines = [f"## `{heading}`", "", promise_of(cls), ""]
    if name in UNUSED_SECTIONS:
        lines += ["Not used yet.", ""]
    lines += ["| key | type | default | what |", "|---|---|---|---|"]
    for key in keys_of(cls):
        default = "required" if key.is_required else f"`{key.default}`" if key.default else "–"
        note = " (not used yet)" if key.name in UNUSED_KEYS.get(name, ()) else ""
        lines.append(f"| `{key.name}` | {key.type_text} | {default} | {_cell(key.help_text)}{note} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: "attrs.Attribute[Any]") -> object:
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        factory: Any = field.default
        return factory.factory()
    return field.default


def _type_text(type_: Any) -> str:
    if (inner := inner_section(type_)) is not None:
        parts = (f"{key.name}{f' = {key.default}' if key.default else ''}" for key in keys_of(inner))
        return f"{{ {', '.join(parts)} }}"
    if isinstance(type_, UnionType):
        return " or ".join(_type_text(part) for part in get_args(type_) if part is not type(None))
    if get_origin(type_) in (list, tuple):
        return f"list of {_type_text(get_args(type_)[0])}s"
    return TYPE_NAMES[type_.__name__]


if __name__ == "__main__":
    print(settings_reference(), end="")
