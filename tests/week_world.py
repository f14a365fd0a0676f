"""A tree and its simulated venues, in one run, on a clock that jumps from one event to the next."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from jwts import jwt_until
from memory_network import ThreadsHoldTheClock, use_memory_network
from trees import make_tree, unread_log
from trio.testing import MockClock
from week_script import CLOSES, OPENS, Event, Script, at_s, at_us

from domain import clock
from domain.clock import now_us
from domain.states import State
from storage.settings import StorageSettings
from supervisor import status
from supervisor.desired import DesiredState
from supervisor.operator import Operator
from supervisor.sections import MarketsSettings, Settings
from supervisor.simulate.ledger import NoLedger
from supervisor.simulate.replay import play_nothing
from supervisor.simulate.server import Address, Server
from supervisor.token_files import make_folder, token_path, write_token
from supervisor.tree import Tree
from venues.settings import VenueSettings
from venues.simulated.binance import SimulatedBinance
from venues.simulated.faults import Fault, Kind, Schedule
from venues.simulated.hours import Hours
from venues.simulated.olymptrade import SimulatedOlympTrade
from venues.simulated.olymptrade_session import OlympSession
from venues.simulated.prices import FX_PAIRS, PricePath
from venues.simulated.protocol import HttpAnswer, Request

COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
STALE_AFTER_S = 900.0
CALM_S = 300.0  # between two prices of a market
BUSY_S = 5.0  # the same, round about an event
BUSY_BEFORE_S, BUSY_AFTER_S = 600.0, 1_800.0
PRICES_END_S = 60.0  # before the end
RECOVERY_S = 60.0  # it is waited for so long
DAY_US = 86_400_000_000


class WatchedOlympTrade(SimulatedOlympTrade):
    """Remembers who came when, and every market's past by its first name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pasts = {symbol: market.past for symbol, market in self._markets.items()}
        self.knocks_us: list[int] = []
        self.subscribes_us: list[int] = []

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        self.knocks_us.append(at_us)
        return super().knock(request, at_us=at_us)

    def watch(self, session: OlympSession, symbol: str) -> None:
        self.subscribes_us.append(now_us())
        super().watch(session, symbol)


class WatchedBinance(SimulatedBinance):
    """Remembers who came when, and every market's past."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pasts = {symbol: market.past for symbol, market in self._markets.items()}
        self.knocks_us: list[int] = []

    def knock(self, request: Request, *, at_us: int) -> HttpAnswer | None:
        self.knocks_us.append(at_us)
        return super().knock(request, at_us=at_us)


@attrs.define(kw_only=True)
class World:
    """Everybody who lives through the script, and what was seen of them."""

    script: Script
    olymp: WatchedOlympTrade
    binance: WatchedBinance
    token_path: Path
    tree: Tree
    ended: trio.Event = attrs.field(factory=trio.Event)
    live_after_set_s: float = math.inf  # how long after the new token everybody was live
    states: dict[str, str] = attrs.field(factory=dict)  # at the end
    reasons: dict[str, str] = attrs.field(factory=dict)

    def state(self, market: str) -> State:
        """Return the state of a market now."""
        return self.tree.board.market_state(self.tree.board.markets[market])

    async def note_recovery(self, *, but: set[str]) -> None:
        """Wait a while until the venue's markets are live, `but` those; note how long that took."""
        began_at = trio.current_time()
        rows = [row for row in self.tree.board.markets.values() if row.venue == "olymp"]
        names = [row.name for row in rows if row.symbol not in but]
        with trio.move_on_after(RECOVERY_S):
            while not all(self.state(name) is State.LIVE for name in names):  # noqa: ASYNC110 - no event
                await trio.sleep(0.5)
            self.live_after_set_s = trio.current_time() - began_at

    def note_end(self) -> None:
        """Note what everybody is doing."""
        for name, row in self.tree.board.markets.items():
            self.states[name], self.reasons[name] = self.state(name), row.reason


def set_clocks(monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, script: Script) -> None:
    """Let the wall clock go with trio's, from the script's beginning on, for threads too."""
    begins_ns = at_us(script.begins) * 1_000
    zero_s = mock_clock.current_time()

    def read_ns() -> int:
        return begins_ns + round((mock_clock.current_time() - zero_s) * 1e9)

    monkeypatch.setattr(clock, "read_ns", read_ns)
    holding = ThreadsHoldTheClock(mock_clock, trio.to_thread.run_sync)
    monkeypatch.setattr(trio.to_thread, "run_sync", holding.run_sync)


def seconds(script: Script, when: str) -> float:
    """Return a moment in seconds after the script's beginning."""
    return at_s(when) - at_s(script.begins)


async def live_through(script: Script, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Play the whole script, stop in order, and return what came of it."""
    use_memory_network(monkeypatch)
    begins_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        world = await _begin(script, state_dir, nursery)
        for event in script.events:
            nursery.start_soon(_play, event, world, begins_at + seconds(script, event.when))
        for venue in (world.olymp, world.binance):
            nursery.start_soon(_make_prices, venue, script, begins_at)
        await trio.sleep_until(begins_at + seconds(script, script.ends))
        world.note_end()
        world.tree.stop()
        await world.ended.wait()
        nursery.cancel_scope.cancel()
    return world


async def _begin(script: Script, state_dir: Path, nursery: trio.Nursery) -> World:
    prices = {symbol: PricePath(seed=1, symbol=symbol) for symbol in (*FX_PAIRS, *COINS)}
    olymp = WatchedOlympTrade(
        prices={symbol: prices[symbol] for symbol in FX_PAIRS},
        started_us=now_us(),
        accepts=lambda _: False,
        hours=Hours.WEEK,
    )
    binance = WatchedBinance(
        prices={symbol: prices[symbol] for symbol in COINS}, started_us=now_us(), accepts=lambda _: False
    )
    ports: dict[str, int] = {}
    for name, venue in (("olymp", olymp), ("bin", binance)):
        server = Server(venue=venue, schedule=_cuts(script, name), ledger=NoLedger(), beside=play_nothing)
        ports[name] = await nursery.start(partial(server.run, address=Address("127.0.0.1", 0), rate=0.0))
    settings = _settings(ports)
    path = _put_token(settings.venues["olymp"], state_dir, until_us=at_us(script.when("expires")))
    tree = make_tree(settings, state_dir, DesiredState())
    lag = status.LoopLag()
    commands = Operator(
        tree=tree,
        status=partial(
            status.build, tree, version="0", started_us=now_us(), is_ready=True, lag=lag, log=unread_log()
        ),
    )
    world = World(script=script, olymp=olymp, binance=binance, token_path=path, tree=tree)

    async def run(*, task_status: trio.TaskStatus[object]) -> None:
        await tree.run(handle=commands.handle, leave=_must_not_be_stuck, task_status=task_status)
        world.ended.set()

    await nursery.start(run)
    return world


def _settings(ports: Mapping[str, int]) -> Settings:
    return Settings(
        # As seldom as can be: each is a thread's turn.
        storage=StorageSettings(flush_after_ms=60_000, store_every_ms=600_000, timeframes_s=[300]),
        venues={
            "olymp": VenueSettings(
                protocol="olymptrade", url=f"ws://127.0.0.1:{ports['olymp']}/otp", stale_after_s=STALE_AFTER_S
            ),
            "bin": VenueSettings(
                protocol="binance", url=f"ws://127.0.0.1:{ports['bin']}/stream", stale_after_s=STALE_AFTER_S
            ),
        },
        markets=(
            MarketsSettings(venue="olymp", symbols=FX_PAIRS),
            MarketsSettings(venue="bin", symbols=COINS),
        ),
    )


def _put_token(settings: VenueSettings, state_dir: Path, *, until_us: int) -> Path:
    """Write the token that the daemon starts with; return where."""
    state_dir.mkdir()
    make_folder(state_dir)
    path = token_path(state_dir, venue="olymp", settings=settings)
    write_token(path, jwt_until(until_us))
    return path


def _cuts(script: Script, venue: str) -> Schedule:
    """Return what the server does by itself; its time begins with the first subscribe."""
    return Schedule(
        tuple(
            Fault(
                kind=Kind(event.what),
                at_s=seconds(script, event.when),
                duration_s=event.for_s,
            )
            for event in script.events
            if event.venue == venue and event.is_fault
        )
    )


async def _play(event: Event, world: World, at: float) -> None:
    """Do what only this venue does, or its user."""
    await trio.sleep_until(at)
    if event.what == "silent":
        world.olymp.fall_silent(event.symbol)
    elif event.what == "rename":
        world.olymp.rename(event.symbol, event.new)
    elif event.what == "set":
        write_token(world.token_path, jwt_until(at_us(event.when) + 30 * DAY_US))
        renames = [each for each in world.script.events if each.what == "rename"]
        await world.note_recovery(
            but={each.symbol for each in renames if at_us(each.when) < at_us(event.when)}
        )


async def _make_prices(venue: WatchedOlympTrade | WatchedBinance, script: Script, begins_at: float) -> None:
    """Let all prices of a venue move together: often round about an event, else seldom."""
    moments = [0.0, *(seconds(script, each) for each in (CLOSES, OPENS))]
    moments += [seconds(script, event.when) for event in script.events]
    ends_s = seconds(script, script.ends) - PRICES_END_S
    while (now_s := trio.current_time() - begins_at) < ends_s:
        for symbol in venue.symbols:
            if venue.is_moving(symbol):
                venue.tick(symbol, at_us=now_us())
        is_busy = any(each - BUSY_BEFORE_S <= now_s <= each + BUSY_AFTER_S for each in moments)
        await trio.sleep(BUSY_S if is_busy else CALM_S)


def _must_not_be_stuck() -> None:
    raise AssertionError("the writer's thread is stuck")
