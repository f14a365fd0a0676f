"""Puts a simulated venue together from its options and serves it."""

import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from domain.clock import now_us
from domain.errors import ConfigError
from supervisor.simulate.ledger import FileLedger, NoLedger
from supervisor.simulate.options import SimulateOptions
from supervisor.simulate.replay import Replay, play_nothing
from supervisor.simulate.server import Address, Server
from supervisor.simulate.socket import ServedSocket
from venues import find_venue
from venues.simulated.binance import SimulatedBinance
from venues.simulated.deriv import SimulatedDeriv
from venues.simulated.faults import Schedule
from venues.simulated.kraken import SimulatedKraken
from venues.simulated.olymptrade import SimulatedOlympTrade
from venues.simulated.prices import PriceLoop, PricePath, PriceSource, Quote, parse_prices
from venues.simulated.protocol import SimulatedVenue
from wire.recording import read

# Each takes: the prices of each market, the wall clock, the hours, and which markets beside its own
# may be subscribed (nothing comes of them).
MAKERS: Mapping[str, Callable[..., SimulatedVenue]] = {
    "olymptrade": SimulatedOlympTrade,
    "deriv": SimulatedDeriv,
    "binance": SimulatedBinance,
    "kraken": SimulatedKraken,
}


async def serve(options: SimulateOptions, *, task_status: trio.TaskStatus[int]) -> None:
    """Serve until cancelled; tell the port once it can be connected to.

    Raises `ConfigError` for what cannot be served, OSError for an address that is in use or a
    ledger that cannot be written (in an exception group once it serves).
    """
    venue = _make_venue(options)
    _check_faults(options, venue=venue)
    ledger = NoLedger() if options.ledger is None else FileLedger(options.ledger)
    beside: Callable[[ServedSocket], Awaitable[None]] = play_nothing
    rate = options.rate
    if options.replay is not None:
        _check_recording(options.replay)
        beside, rate = Replay(path=options.replay, speed=options.speed).play, 0.0
    server = Server(venue=venue, schedule=Schedule(options.faults), ledger=ledger, beside=beside)
    ledger.open()
    try:
        await server.run(address=Address(options.host, options.port), rate=rate, task_status=task_status)
    finally:
        ledger.close()


def _make_venue(options: SimulateOptions) -> SimulatedVenue:
    make = MAKERS.get(options.protocol)
    if make is None:
        raise ConfigError(f"protocol {options.protocol!r} is not served; served: {', '.join(MAKERS)}")
    if options.replay is not None and options.prices is not None:
        raise ConfigError("prices and replay exclude each other")
    return make(
        prices=_price_sources(options),
        started_us=now_us(),
        hours=options.hours,
        # The markets of a replay are the recording's.
        accepts=_refuse_any if options.replay is None else _accept_any,
    )


def _refuse_any(_: str) -> bool:
    return False


def _accept_any(_: str) -> bool:
    return True


def _price_sources(options: SimulateOptions) -> dict[str, PriceSource]:
    if options.prices is None:
        return {symbol: PricePath(seed=options.seed, symbol=symbol) for symbol in options.markets}
    quotes = _read_prices(options.prices)
    return {symbol: PriceLoop(quotes) for symbol in options.markets}


def _read_prices(path: Path) -> tuple[Quote, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return parse_prices(lines, name=str(path))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text: {exc}") from exc


def _check_recording(path: Path) -> None:
    """Read it whole once: a bad line is told now, not in the middle of a replay."""
    for _ in read(path):
        pass


def _check_faults(options: SimulateOptions, *, venue: SimulatedVenue) -> None:
    if options.replay is not None:
        return  # its markets are the recording's
    for fault in options.faults:
        if fault.symbol is not None and fault.symbol not in venue.symbols:
            raise ConfigError(f"fault {str(fault)!r}: no market {fault.symbol!r} is served")


def serve_until_signal(options: SimulateOptions) -> None:
    """Serve until SIGTERM or SIGINT, saying on standard output when and where.

    Raises what `serve` raises, in exception groups.
    """
    trio.run(_serve_until_signal, options)


async def _serve_until_signal(options: SimulateOptions) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_announce, options, nursery)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


async def _announce(options: SimulateOptions, nursery: trio.Nursery) -> None:
    port = await nursery.start(serve, options)
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = find_venue(options.protocol).address(f"ws://{host}:{port}")
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()
