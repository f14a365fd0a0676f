"""A real tree for tests: a loopback simulator, a SQLite file, everything the daemon runs in one nursery."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from actors.control import Handle, Peer
from actors.mailbox import Inbox
from actors.writer import Writer
from domain.clock import now_us
from domain.database import Contact
from storage.settings import StorageSettings
from storage.target import SqliteTarget
from supervisor import status
from supervisor.desired import DesiredState
from supervisor.log_writer import LogWriter
from supervisor.logs import StreamOutput
from supervisor.operator import Operator
from supervisor.policy import SupervisionSettings
from supervisor.sections import MarketsSettings, Settings
from supervisor.simulate.options import SimulateOptions
from supervisor.simulate.service import serve
from supervisor.tree import Tree
from venues.settings import VenueSettings
from venues.simulated.faults import Fault

GUARD_S = 30.0  # against hanging
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as it is so."""
    with trio.fail_after(GUARD_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.005)


def make_settings(
    port: int,
    *,
    symbols: tuple[str, ...] = SYMBOLS,
    protocol: str = "binance",
    source: str = "quotes",
    **changed: Any,
) -> Settings:
    """Return settings of the simulated venue, as fast as can be."""
    venue = VenueSettings(protocol=protocol, url=f"ws://127.0.0.1:{port}", source=source)
    settings = Settings(
        storage=StorageSettings(flush_after_ms=10, store_every_ms=100),
        supervision=SupervisionSettings(start_delay_ms=1, backoff_min_s=0.01, backoff_max_s=0.05),
        venues={"sim": venue},
        markets=(MarketsSettings(venue="sim", symbols=symbols),),
    )
    return attrs.evolve(settings, **changed)


def make_tree(settings: Settings, state_dir: Path, desired: DesiredState) -> Tree:
    """Return a tree on a SQLite file in the state directory, which is made."""
    state_dir.mkdir(exist_ok=True)

    def make_writer(inbox: Inbox) -> Writer:
        target = SqliteTarget(path=state_dir / "marketd.db")
        return Writer(folder=state_dir, settings=settings.storage, target=target, inbox=inbox)

    return Tree(
        settings=settings, state_dir=state_dir, desired=desired, make_writer=make_writer, recorder=None
    )


@attrs.frozen(kw_only=True)
class Grown:
    """A running tree, and who can be asked to change it."""

    tree: Tree
    commands: Operator
    port: int
    contact: Contact
    ended: trio.Event

    def state(self, market: str) -> str:
        """Return the state of a market."""
        return self.tree.board.market_state(self.tree.board.markets[market])

    async def all_live(self) -> None:
        """Wait until every market that is to run is live."""
        board = self.tree.board
        await until(lambda: board.live_markets() == board.wanted_markets())

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Ask for something, as a client of the control socket does."""
        return await self.commands.handle(command, arguments, Peer(pid=1, uid=0))

    def status(self) -> dict[str, Any]:
        """Return what `marketd status --json` shows."""
        return self.commands._status()

    async def stop(self) -> None:
        """Stop in order, and wait for the end."""
        self.tree.stop()
        with trio.fail_after(GUARD_S):
            await self.ended.wait()


def unread_log() -> LogWriter:
    """Return a log that was never opened."""
    return LogWriter(StreamOutput(io.StringIO()))


@asynccontextmanager
async def grown_tree(
    state_dir: Path,
    *,
    desired: DesiredState | None = None,
    handle: Handle | None = None,
    symbols: tuple[str, ...] = SYMBOLS,
    protocol: str = "binance",
    faults: tuple[Fault, ...] = (),
    **changed: Any,
) -> AsyncIterator[Grown]:
    """Run a tree beside its simulated venue; stop it in order at the end of the block."""
    async with trio.open_nursery() as nursery:
        options = SimulateOptions(protocol=protocol, rate=20.0, markets=(*SYMBOLS, "AUDUSD"), faults=faults)
        port: int = await nursery.start(serve, options)
        tree = make_tree(
            make_settings(port, symbols=symbols, protocol=protocol, **changed),
            state_dir,
            desired or DesiredState(),
        )
        lag = status.LoopLag()
        commands = Operator(
            tree=tree,
            status=partial(
                status.build, tree, version="0", started_us=now_us(), is_ready=True, lag=lag, log=unread_log()
            ),
        )
        ended = trio.Event()

        async def run_tree(*, task_status: trio.TaskStatus[Contact]) -> None:
            await tree.run(
                handle=handle or commands.handle,
                leave=_must_not_be_stuck,
                task_status=task_status,
            )
            ended.set()

        contact: Contact = await nursery.start(run_tree)
        grown = Grown(tree=tree, commands=commands, port=port, contact=contact, ended=ended)
        yield grown
        await grown.stop()
        nursery.cancel_scope.cancel()


def _must_not_be_stuck() -> None:
    raise AssertionError("the writer's thread is stuck")
