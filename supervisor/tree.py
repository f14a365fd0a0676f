"""The wiring. Reads like the drawing in ARCHITECTURE.md; decides nothing itself.

venue ─ connection ─┬─▶ market ─▶ floor     one gate a venue, one connection a socket,
                    └─▶ writer ─▶ database         one market actor a market;
control ─▶ tree                                    the floor only where something is traded
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from actors.connection import Connection
from actors.control import Control, Handle
from actors.mailbox import BatchMailbox, Inbox, Link, Mailbox
from actors.market import Market, MarketPlace
from actors.ports import ConnectionPlace, MarketPort, VenuePlace
from actors.writer import Writer
from domain.clock import now_us
from domain.database import Contact, Finished
from domain.events import Event, emit
from domain.gaps import Cause, Gap, GapLedger, GapRanges, GapTracker
from domain.hours import MarketHours
from domain.market import Tick
from domain.messages import Close, Request
from domain.skew import ClockSkew
from domain.stamping import Stamper
from domain.states import ChildRow, ConnectionRow, Desired, MarketRow
from supervisor.backfilling import Backfills
from supervisor.board import Board
from supervisor.branches import ConnectionBranch, MarketBranch, VenueBranch, data_s
from supervisor.desired import DesiredState
from supervisor.entrance import Entrance
from supervisor.gate import Gate, connects_file, read_connects
from supervisor.keeping import Keeper
from supervisor.listings import Listings
from supervisor.market_specs import MarketSpec, market_specs
from supervisor.memory import Memory
from supervisor.pause import Pause
from supervisor.policy import RestartPolicy
from supervisor.recall import Recall
from supervisor.rest_listing import RestLister
from supervisor.sections import Settings
from supervisor.small_files import SmallFiles
from supervisor.supervise import Child, guarded, outcome_of, run_beside, run_essential
from supervisor.tokens import Tokens
from supervisor.watchdog import Pulse
from venues import find_venue
from venues.settings import VenueSettings

if TYPE_CHECKING:
    from supervisor.floor import Floor
    from wire.recording import Recorder

TICKS_BOUND = 65_536  # connection → writer
MARKET_BOUND = 1_024  # connection → market
EVENTS_BOUND = 1_000  # any → writer
FIRST_CONTACT_S = 2.0  # we wait so long at start to hear from the database, then go on without
FILES_S = 0.5  # what is put to be written last waits so long for the disk
GOODBYE_S = 3.0  # all connections together have so long to unsubscribe and close


class Tree:
    """Everything that lives in the daemon. All mailboxes are made and kept here."""

    def __init__(
        self,
        *,
        settings: Settings,
        state_dir: Path,
        desired: DesiredState,
        make_writer: Callable[[Inbox], Writer],
        recorder: "Recorder | None",
        config: Path | None = None,
    ) -> None:
        self.settings = settings
        self.config = config  # beside which users' strategies are
        self.state_dir = state_dir
        self.desired = desired
        self.keeper = Keeper(state_dir=state_dir, wanted=desired)
        self.board = Board()
        self._overflowed = GapRanges(Cause.OVERFLOW)
        self.inbox = Inbox(
            ticks=BatchMailbox(name="writer/ticks", bound=TICKS_BOUND, on_drop=self._overflow),
            events=Mailbox(name="writer/events", bound=EVENTS_BOUND),
            gaps=GapLedger(),
        )
        self.writer = make_writer(self.inbox)
        self.recall = Recall(writer=self.writer, timeframe_s=min(settings.storage.timeframes_s, default=60))
        self.venues: dict[str, VenueBranch] = {}
        self.connections: dict[str, ConnectionBranch] = {}
        self.markets: dict[str, MarketBranch] = {}
        self._removed: dict[str, MarketPort] = {}  # those that come again go on from where they were
        self.files = SmallFiles()
        self.listings = Listings(state_dir=state_dir, markets=self.markets, keep=self.files.put)
        self.tokens = Tokens(state_dir=state_dir, rearm=self._rearm)
        self.memory = Memory(
            max_mb=settings.service.memory_max_mb,
            use_less=self.writer.use_less_memory,
            use_more=self.writer.use_memory,
        )
        self.pulse = Pulse()
        self.backfills = Backfills(
            inbox=self.inbox,
            writer=self.writer,
            storage=settings.storage,
            markets=self.markets,
            memory=self.memory,
        )
        self.inbox.gaps.on_closed = self._gap_closed
        self.exit_code = 0
        self.stop_reason = ""
        self.pause = Pause()
        self.finished: Finished | None = None
        self._recorder = recorder
        self._stop = trio.Event()
        self._nursery: trio.Nursery | None = None
        self.entrance = Entrance(self)
        self._is_growing = False
        self._to_start: list[Child] = []

    # --- the life of the tree -----------------------------------------------------------------

    async def run(
        self, *, handle: Handle, leave: Callable[[], None], task_status: trio.TaskStatus[Contact]
    ) -> None:
        """Run until a stop is asked for, then stop in order.

        Reports started once everything is ready; `exit_code` and `finished` say how it ended.
        Where the writer's thread is stuck this can never return: `leave` is called instead.
        """
        self.memory.look()  # a journal may be large, and the limit low
        async with trio.open_nursery() as outer:  # the writer outlives all who write to it
            outer.start_soon(run_essential, "writer", self.writer.run, self.give_up, name="writer")
            await self.writer.opened()
            contact = await self.writer.first_contact(deadline_s=FIRST_CONTACT_S)
            found = self.writer.found
            if contact is Contact.FRESH and found is not None and not found.is_empty:
                contact = Contact.EXISTING  # of the journal, at least
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._open_control(handle)
                await self._grow_all()
                task_status.started(contact)
                await self._stop.wait()
                await self._stop_feeds()
                await self.files.written(deadline_s=FILES_S)
                nursery.cancel_scope.cancel()
            if self._recorder is not None:
                self._recorder.close()
            if self.exit_code == 0:
                self.finished = await self.writer.finish()
                if self.finished.is_stuck:
                    leave()
            outer.cancel_scope.cancel()

    def _open_control(self, handle: Handle) -> None:
        control = Control(path=self.state_dir / "control.sock", handle=guarded("control", handle))
        control.listen()  # here, so that a path that will not do is said at once
        self.start_helper("control", control.run)

    def stop(self, why: str = "") -> None:
        """Ask for an ordered stop; the first word on why counts."""
        self.stop_reason = self.stop_reason or why
        self._stop.set()

    async def stop_asked(self) -> None:
        """Wait until a stop is asked for."""
        await self._stop.wait()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._stop.is_set()

    def give_up(self, reason: str) -> None:
        """Stop in order because something failed that the daemon cannot live without."""
        emit(Event.STOP, f"stopping: {reason}", level=logging.ERROR, actor="tree", reason=reason)
        self.exit_code = 1
        self.stop_reason = reason
        self.stop()

    async def _stop_feeds(self) -> None:
        """Unsubscribe and close every socket; then end what is left, within a deadline."""
        await self.entrance.take_last_orders()
        self.board.end()
        self.inbox.gaps.end()
        self.backfills.end()
        for connection in self.connections.values():
            self._retire(connection)
        for market in self.markets.values():
            market.child.remove()
        with trio.move_on_after(GOODBYE_S):
            # Looked at for half a second once in a life: not worth an event in every row.
            while any(each.place.row.is_open for each in self.connections.values()):  # noqa: ASYNC110
                await trio.sleep(0.01)
        for connection in self.connections.values():
            connection.child.remove()
        await self.entrance.last_rows_kept()

    # --- trading ------------------------------------------------------------------------------

    @property
    def floor(self) -> "Floor | None":
        """The trading floor, None where nothing is traded."""
        return self.entrance.floor

    def _gap_closed(self, gap: Gap) -> None:
        self.backfills.closed(gap)
        self.entrance.gap(gap)

    def soon(self, name: str, run: Callable[[], Awaitable[Any]]) -> None:
        """Run something beside everything else, once; what it fails with is said, and ends nothing else."""
        assert self._nursery is not None, "nothing runs before the tree does"
        self._nursery.start_soon(run_beside, name, run, name=name)

    # --- growing and pruning ------------------------------------------------------------------

    async def _grow_all(self) -> None:
        """Add all venues and markets; start them when it is known where they ended last time."""
        self.entrance.begin()
        self.start_helper("recall", self.recall.run)
        self.start_helper("memory", self.memory.run)
        self.start_helper("files", self.files.run)
        self.start_helper("pulse", self.pulse.run)
        self.pause.begin()
        self._is_growing = True  # from here on they talk to venues, and wait for the pause
        self.start_helper("tokens", self.tokens.run)
        for name, settings in self.settings.venues.items():
            self.add_venue(name, settings)
        for spec in market_specs(self.settings):
            self.add_market(spec)
        await self.recall.settle(deadline_s=FIRST_CONTACT_S)
        assert self._nursery is not None, "it grows in one"
        if self.pause.left_s():
            self._nursery.start_soon(self._start_after_pause, name="pause")
        else:
            self._start_children()

    def start_helper(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Start a child that there is one of, which nobody stops or starts by hand."""
        policy = RestartPolicy(settings=self.settings.supervision)
        self._start(Child(name=name, run=run, row=ChildRow(name=name), policy=policy))

    async def _start_after_pause(self) -> None:
        await self.pause.over()
        self._start_children()

    def _start_children(self) -> None:
        self._is_growing = False
        for child in self._to_start:
            self._start(child)
        self._to_start = []

    def _overflow(self, ticks: list[Tick]) -> None:
        """Write down which ticks the writer's mailbox had to let go."""
        for gap in self._overflowed.add(ticks):
            self.inbox.gaps.put(gap)
        emit(  # folded, like all that is said again
            Event.OVERFLOW,
            "more prices come in than the disk takes: the oldest are dropped; `marketd gaps` says which",
            level=logging.ERROR,
            actor="writer/ticks",
        )

    def add_venue(self, name: str, settings: VenueSettings) -> None:
        """Open a venue's gate; its connections come with its markets."""
        venue = find_venue(settings.protocol)
        memory = connects_file(self.state_dir, name)
        gate = Gate(
            spacing_s=self.settings.supervision.start_delay_ms / 1000,
            starts_per_pass=self.settings.supervision.starts_per_pass,
            budgets=venue.connect_budgets,
            connects=read_connects(memory),
            memory=memory,
            keep=self.files.put,
        )
        self.tokens.add_venue(name, venue=venue, settings=settings)
        catalog = self.listings.remembered(name)
        place = VenuePlace(
            name=name,
            venue=venue,
            settings=settings,
            catalog=catalog,
            skew=ClockSkew(),
            read_token=partial(self.tokens.token_for, name),
            token_refused=lambda token: self.tokens.refused(name, token=token),
            listed=partial(self.listings.listed, catalog),
            terms_told=partial(self.listings.terms_told, catalog),
            wait_turn=gate.pass_connect,
            recorder=self._recorder,
        )
        if venue.rest_listing is not None:
            place.list_markets = RestLister(place, venue.rest_listing).ask_if_due
        self.venues[name] = VenueBranch(place=place, gate=gate)
        backfill = self.backfills.grow(self.venues[name], supervision=self.settings.supervision)
        if backfill is not None:
            self._start(backfill)

    def add_market(self, spec: MarketSpec) -> None:
        """Start a market, on a connection that has room, else on a new one."""
        connection = self._connection_with_room(spec.venue)
        before = self._removed.pop(spec.id, None)
        gaps = GapTracker(market=spec.id, ledger=self.inbox.gaps) if before is None else before.gaps
        hours = MarketHours(gaps=gaps)
        self.listings.recall_hours(spec, hours, self.venues[spec.venue].place.catalog)
        row = MarketRow(
            name=spec.id,
            symbol=spec.symbol,
            venue=spec.venue,
            stale_after_s=spec.stale_after_s,
            connection=connection.place.row,
            hours=hours,
            desired=self.desired.of_market(spec.id, autostart=spec.autostart),
        )
        changed = partial(self.board.market_changed, row)
        mailbox = BatchMailbox[list[Tick]](name=f"market/{spec.id}", bound=MARKET_BOUND)
        place = MarketPlace(
            row=row,
            mailbox=mailbox,
            link=connection.place.link,
            requests=connection.place.requests,
            wait_turn=partial(self.venues[spec.venue].gate.pass_subscribe, connection.place.row.name),
            changed=changed,
            gaps=gaps,
            resubscribe_max_s=self.settings.supervision.backoff_max_s,
        )
        mailbox.on_drop = partial(self.entrance.lost, place)
        place.desk = self.entrance.seat(spec, tracker=gaps)
        child = Child(
            name=f"market/{spec.id}",
            run=lambda: Market(place).run(),
            row=row,
            policy=RestartPolicy(settings=self.settings.supervision),
            data_s=lambda began: data_s(began, row.last_tick_at),
            changed=changed,
        )
        stamper = Stamper(market=spec.id) if before is None else before.stamper
        port = MarketPort(row=row, mailbox=mailbox, stamper=stamper, gaps=gaps, hours=hours, changed=changed)
        connection.place.ports[spec.symbol] = port
        self.board.add_market(row)
        self.markets[spec.id] = MarketBranch(
            spec=spec, child=child, place=place, port=port, connection=connection
        )
        if before is None:
            self.recall.want(spec.id, port)
        elif row.desired is Desired.RUNNING:
            gaps.resume(Cause.STOPPED, at_us=now_us())
            gaps.trouble(Cause.DISCONNECT)  # until it is subscribed
        self._start(child)

    def remove_market(self, market: str) -> None:
        """Stop a market for good; the last one on a connection closes it."""
        branch = self.markets.pop(market)
        branch.child.remove()
        branch.port.gaps.rest(Cause.STOPPED, at_us=now_us())
        self.entrance.leave(market)
        branch.place.mailbox.drop_all()  # what its trades still need of it is stored
        if not self.recall.forget(market):
            self._removed[market] = branch.port
        place = branch.connection.place
        del place.ports[branch.spec.symbol]
        place.let_go(branch.port, symbol=branch.spec.symbol)
        self.board.remove(market)
        if not place.ports:
            self._retire(branch.connection)
            self.connections.pop(place.row.name)
            self.board.remove(place.row.name)

    def remove_venue(self, name: str) -> None:
        """Stop all of a venue's markets, and with them its connections."""
        for market in [market for market, branch in self.markets.items() if branch.spec.venue == name]:
            self.remove_market(market)
        self.backfills.remove(name)
        self.tokens.remove_venue(name)
        del self.venues[name]

    def _rearm(self, venue: str) -> None:
        """A venue's token changed: its connections start over with it."""
        for connection in self.connections.values():
            if connection.place.row.venue != venue:
                continue
            if connection.place.row.hold is None:
                connection.child.restart()
            else:
                connection.child.start()

    def _connection_with_room(self, venue: str) -> ConnectionBranch:
        branch = self.venues[venue]
        limit = branch.place.venue.markets_per_connection
        bound = min(branch.place.settings.markets_per_connection or limit, limit)
        number = 1
        while (found := self.connections.get(f"{venue}/{number}")) is not None:
            if len(found.place.ports) < bound:
                return found
            number += 1
        return self._add_connection(f"{venue}/{number}", venue)

    def _add_connection(self, name: str, venue: str) -> ConnectionBranch:
        branch = self.venues[venue]
        row = ConnectionRow(name=name, venue=venue)
        changed = partial(self.board.connection_changed, row)
        place = ConnectionPlace(
            row=row,
            shared=branch.place,
            link=Link(),
            # every market may have two requests under way; removed ones some more
            requests=Mailbox[Request](
                name=f"connection/{name}", bound=4 * branch.place.venue.markets_per_connection
            ),
            ports={},
            ticks=self.inbox.ticks,
            changed=changed,
            spawn=self._spawn,
        )
        child = Child(
            name=f"connection/{name}",
            run=lambda: Connection(place).run(),
            row=row,
            policy=RestartPolicy(settings=self.settings.supervision),
            data_s=lambda began: data_s(max(began, row.data_since or began), row.data_until),
            changed=changed,
        )
        self.board.add_connection(row)
        self.connections[name] = ConnectionBranch(place=place, child=child)
        self._start(child)
        return self.connections[name]

    def _start(self, child: Child) -> None:
        assert self._nursery is not None, "markets are added once the tree runs"
        if self._is_growing:
            self._to_start.append(child)
            return
        self._nursery.start_soon(child.keep_alive, name=child.name)

    def _spawn(
        self, task: Callable[[], Awaitable[None]], ended: Callable[[Exception | None], None], name: str
    ) -> None:
        """Run a task beside everything else, and tell how it ended."""
        assert self._nursery is not None, "nothing runs before the tree does"

        async def run() -> None:
            ended(await outcome_of(name, task))

        self._nursery.start_soon(run, name=name)

    def _retire(self, connection: ConnectionBranch) -> None:
        """Let an open connection say goodbye and end; end one that is not open at once."""
        if connection.place.row.is_open and connection.place.requests.put_nowait(Close()):
            connection.child.retire()
        else:
            connection.child.remove()

    def apply_supervision(self, settings: Settings) -> None:
        """Use new settings of supervision and memory from now on."""
        self.settings = settings
        self.memory.max_mb = settings.service.memory_max_mb
        for venue in self.venues.values():
            venue.gate.spacing_s = settings.supervision.start_delay_ms / 1000
            venue.gate.starts_per_pass = settings.supervision.starts_per_pass
        for connection in self.connections.values():
            connection.child.policy.settings = settings.supervision
        for market in self.markets.values():
            market.child.policy.settings = settings.supervision
            market.place.resubscribe_max_s = settings.supervision.backoff_max_s

    def mailboxes(self) -> Mapping[str, Any]:
        """Return every mailbox by its name in status."""
        boxes: list[Any] = [
            self.inbox.ticks,
            self.inbox.events,
            self.inbox.ledger,
            *self.entrance.mailboxes,
            *(branch.port.mailbox for branch in self.markets.values()),
        ]
        return {box.name: box for box in boxes}
