"""What the flags of `marketd simulate` take; each raises `argparse.ArgumentTypeError`."""

import argparse
import math
from typing import NamedTuple

from domain.errors import ConfigError
from domain.market import SYMBOL_PATTERN
from venues.simulated.faults import Fault, parse_fault


class Listen(NamedTuple):
    """What `--listen` names."""

    host: str
    port: int


def listen_at(text: str) -> Listen:
    """Parse `HOST:PORT` or `[HOST]:PORT`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return Listen(host, int(port))


def symbols(text: str) -> tuple[str, ...]:
    """Parse `A,B,C`; symbols come out in upper case."""
    names = tuple(symbol.strip().upper() for symbol in text.split(","))
    for symbol in names:
        if not SYMBOL_PATTERN.fullmatch(symbol):
            raise argparse.ArgumentTypeError(f"{symbol!r} in {text!r} is not a symbol")
        if names.count(symbol) > 1:
            raise argparse.ArgumentTypeError(f"{symbol} stands twice in {text!r}")
    return names


def above_zero(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def fault(text: str) -> Fault:
    """Parse one fault."""
    try:
        return parse_fault(text)
    except ConfigError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
