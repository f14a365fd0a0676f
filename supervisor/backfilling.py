"""Gives each venue that has a history a backfill: what it asks by, and when it may."""

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import attrs
import trio

from actors.backfill import ANSWER_WITHIN_S, Backfill, BackfillPlace
from actors.mailbox import Answer, Inbox
from actors.ports import VenuePlace
from actors.writer import Writer
from domain.errors import ConnectionLost
from domain.gaps import Gap
from domain.market import market_id, split_market_id
from domain.messages import AskHistory
from domain.states import ChildRow, State
from domain.unfilled import UnfilledGaps
from storage.settings import StorageSettings
from supervisor.branches import MarketBranch, VenueBranch
from supervisor.gate import Gate
from supervisor.memory import Memory
from supervisor.policy import RestartPolicy, SupervisionSettings, market_state
from supervisor.supervise import Child
from venues.offers import History, HistoryPage, HistoryRequest, HttpRequest, RestHistory
from wire.rest import Client

DAY_US = 86_400 * 1_000_000


class HttpAnswer(Protocol):
    """What a REST interface answered."""

    @property
    def body(self) -> bytes:
        """What came, whole."""


class Fetch(Protocol):
    """Asks over HTTP; see `wire.rest.Client.fetch`."""

    async def __call__(self, request: HttpRequest, /, *, timeout_s: float) -> HttpAnswer:
        """Return the answer; raise an error of ours."""


class Backfills:
    """All venues' backfills, and the gaps that wait for them. One in the tree."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        writer: Writer,
        storage: StorageSettings,
        markets: Mapping[str, MarketBranch],
        memory: Memory,
    ) -> None:
        self._memory = memory
        self._inbox = inbox
        self._writer = writer
        self._storage = storage
        self._markets = markets  # the tree's own, by id
        self._unfilled: dict[str, UnfilledGaps] = {}  # by venue
        self._children: dict[str, Child] = {}

    def closed(self, gap: Gap) -> None:
        """Take note of a gap that has ended."""
        unfilled = self._unfilled.get(split_market_id(gap.market)[1])
        if unfilled is not None:
            unfilled.put(gap)

    def grow(self, branch: VenueBranch, *, supervision: SupervisionSettings) -> Child | None:
        """Return the child that fills a venue's gaps; None where it has no history for us."""
        venue = branch.place
        history = history_of(venue)
        if history is None:
            return None
        place = BackfillPlace(
            venue=venue.name,
            history=history,
            timeframes_s=self._storage.timeframes_s,
            keep_us=self._storage.keep_ticks_days * DAY_US,
            unfilled=UnfilledGaps(),
            inbox=self._inbox,
            ask=partial(ask_over_socket, self._markets, venue.name),
            is_idle=partial(self._is_idle, branch.gate),
            flushed=self._writer.flushed,
            read=self._writer.read,
        )
        name = f"backfill/{venue.name}"
        child = Child(
            name=name,
            run=partial(_run, place, venue),
            row=ChildRow(name=name),
            policy=RestartPolicy(settings=supervision),
        )
        self._unfilled[venue.name], self._children[venue.name] = place.unfilled, child
        return child

    def remove(self, venue: str) -> None:
        """End the backfill of a venue that is removed."""
        self._unfilled.pop(venue, None)
        child = self._children.pop(venue, None)
        if child is not None:
            child.remove()

    def end(self) -> None:
        """End all of them: everybody is being stopped."""
        for venue in list(self._children):
            self.remove(venue)

    def _is_idle(self, gate: Gate, market: str) -> bool:
        """Whether a market is live, and nothing more urgent is wanted of its venue, journal or RAM."""
        branch = self._markets.get(market)
        if branch is None or market_state(branch.port.row, trio.current_time()) is not State.LIVE:
            return False
        return gate.is_free and self._writer.is_journaled and not self._memory.is_short


def history_of(venue: VenuePlace) -> History | None:
    """Return the history of the ticks that are recorded; None where it is of another source."""
    history = venue.venue.history
    source = venue.settings.source or venue.venue.default_source
    return history if history is not None and history.source in (None, source) else None


async def _run(place: BackfillPlace, venue: VenuePlace) -> None:
    rest = place.history.rest
    if rest is None:
        await Backfill(place).run()
        return
    async with Client() as client:
        ask = partial(ask_over_http, rest, venue, client.fetch)
        await Backfill(attrs.evolve(place, ask=ask)).run()


async def ask_over_socket(
    markets: Mapping[str, MarketBranch], venue: str, request: HistoryRequest
) -> HistoryPage:
    """Return a page of history by the market's own connection."""
    branch = markets.get(market_id(symbol=request.symbol, venue=venue))
    if branch is None:
        raise ConnectionLost(f"{request.symbol} was removed before the venue was asked")
    answer = Answer[HistoryPage]()
    await branch.place.requests.put(AskHistory(request=request, answer=answer))
    return await answer.wait()


async def ask_over_http(
    rest: RestHistory, venue: VenuePlace, fetch: Fetch, request: HistoryRequest
) -> HistoryPage:
    """Return a page of history by the venue's REST interface.

    Raises `UnknownSymbol`, `RemoteProtocolError`, and what `fetch` does.
    """
    symbol = request.symbol
    if venue.catalog.listed_us is not None:
        symbol = venue.catalog.find(symbol).symbol
    own = request._replace(symbol=symbol)
    asked = rest.request(own, venue.venue.rest_address(venue.settings))
    answer = await fetch(asked, timeout_s=ANSWER_WITHIN_S)
    return rest.read(own, answer.body)
