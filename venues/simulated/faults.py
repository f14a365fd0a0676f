"""The faults a simulated venue can be asked for, and when they are on. Pure."""

import enum
import math
import re

import attrs

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN

DOOR_SECONDS = 10.0  # how long faults of the door last unless told


class Kind(enum.StrEnum):
    """What goes wrong; the value is what `--fault` takes."""

    CLOSE = "close"  # a close frame, 1001 or 1012
    RESET = "reset"  # the TCP connection is reset
    GARBAGE = "garbage"  # three undecodable frames; for a duration: instead of every data frame
    SILENT = "silent"  # no text frames, pings are answered; for a symbol: none of its data
    HALF_OPEN = "half-open"  # sockets open now are neither read nor written, and stay open
    LOCK = "lock"  # the market is closed, and the venue says so: no data
    SLOW = "slow"  # at most one tick a second for a market
    REFUSE = "refuse"  # nobody listens on the port
    HTTP429 = "http429"  # the upgrade is answered 429 with Retry-After: 2
    NO_UPGRADE = "no-upgrade"  # TCP is accepted, the upgrade is never answered
    SHUTDOWN = "shutdown"  # the venue says that it restarts soon; nothing else happens


SINGLE_EVENTS = frozenset({Kind.CLOSE, Kind.RESET, Kind.SHUTDOWN})
# Those at the door would be met by nobody while everybody is inside: they begin with a reset of
# the connections that are open.
DOOR_KINDS = frozenset({Kind.REFUSE, Kind.HTTP429, Kind.NO_UPGRADE})

PATTERN = re.compile(r"(?P<kind>[^@]+)@(?P<at>[0-9.]+)(?:\+(?P<duration>[0-9.]+))?(?::(?P<symbol>.+))?")


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, `at_s` seconds after the first subscribe.

    `duration_s` is 0 for a single event and infinite for what lasts to the end. `symbol` is the
    market concerned, for faults of a socket those that subscribed it; None concerns all.
    """

    kind: Kind
    at_s: float
    duration_s: float
    symbol: str | None = None

    @property
    def end_s(self) -> float:
        """The first moment at which it is over."""
        return self.at_s + self.duration_s

    def concerns(self, symbol: str | None) -> bool:
        """Return whether it concerns this market; None asks for what concerns all of them."""
        return self.symbol is None or self.symbol == symbol

    def __str__(self) -> str:
        """Return it as `--fault` takes it."""
        duration = f"+{self.duration_s:g}" if 0.0 < self.duration_s < math.inf else ""
        symbol = f":{self.symbol}" if self.symbol is not None else ""
        return f"{self.kind}@{self.at_s:g}{duration}{symbol}"


def parse_fault(text: str) -> Fault:
    """Return the fault that `KIND@SECONDS[+DURATION][:SYMBOL]` names.

    Raises `ConfigError` naming the text and what is wrong with it.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError(f"fault {text!r}: expected KIND@SECONDS[+DURATION][:SYMBOL]")
    kind = _parse_kind(match["kind"], text=text)
    symbol = match["symbol"].upper() if match["symbol"] is not None else None
    if symbol is not None and not SYMBOL_PATTERN.fullmatch(symbol):
        raise ConfigError(f"fault {text!r}: {symbol!r} is not a symbol")
    if symbol is not None and kind in DOOR_KINDS:
        raise ConfigError(f"fault {text!r}: {kind} concerns every market, it takes no symbol")
    return Fault(
        kind=kind,
        at_s=_parse_seconds(match["at"], text=text),
        duration_s=_duration(match["duration"], kind=kind, text=text),
        symbol=symbol,
    )


def _parse_kind(word: str, *, text: str) -> Kind:
    try:
        return Kind(word)
    except ValueError:
        known = ", ".join(Kind)
        raise ConfigError(f"fault {text!r}: kind {word!r} is not known; known: {known}") from None


def _parse_seconds(word: str, *, text: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ConfigError(f"fault {text!r}: {word!r} is not a number of seconds") from None


def _duration(word: str | None, *, kind: Kind, text: str) -> float:
    if word is not None:
        if kind in SINGLE_EVENTS:
            raise ConfigError(f"fault {text!r}: {kind} is a single event, it takes no duration")
        duration_s = _parse_seconds(word, text=text)
        if duration_s == 0.0:
            raise ConfigError(f"fault {text!r}: a duration must be above 0")
        return duration_s
    if kind in SINGLE_EVENTS or kind is Kind.GARBAGE:
        return 0.0
    return DOOR_SECONDS if kind in DOOR_KINDS else math.inf


@attrs.frozen
class Schedule:
    """Which faults are on when; times are seconds since the first subscribe."""

    faults: tuple[Fault, ...] = ()

    def active(self, *, at_s: float, symbol: str | None) -> frozenset[Kind]:
        """Return the kinds that are on for this market at this moment, single events not among them.

        A fault is on from `at_s` until just before its end. None asks for what concerns all.
        """
        return frozenset(
            fault.kind for fault in self.faults if fault.at_s <= at_s < fault.end_s and fault.concerns(symbol)
        )

    def beginning(self, *, after_s: float, until_s: float) -> tuple[Fault, ...]:
        """Return the single events and the beginnings in `(after_s, until_s]`, in their order."""
        return tuple(
            fault
            for fault in sorted(self.faults, key=lambda fault: fault.at_s)
            if after_s < fault.at_s <= until_s
        )

    def next_after(self, after_s: float) -> float:
        """Return when the next fault after that moment begins; infinite if none does."""
        return min((fault.at_s for fault in self.faults if fault.at_s > after_s), default=math.inf)

    def end_of(self, kind: Kind, *, at_s: float) -> float:
        """Return when the faults of that kind that are on at that moment are over; else `at_s`."""
        ends = (
            fault.end_s for fault in self.faults if fault.kind is kind and fault.at_s <= at_s < fault.end_s
        )
        return max(ends, default=at_s)
