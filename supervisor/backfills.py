"""Who fills gaps: one backfill a venue that has a history, and how it asks for it."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from actors.backfill import Backfill, BackfillPlace
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
from supervisor.policy import RestartPolicy, SupervisionSettings
from supervisor.supervise import Child
from venues.protocol import History, HistoryPage, HistoryRequest, RestHistory
from wire.rest import fetch

Ask = Callable[[HistoryRequest], Awaitable[HistoryPage]]

DAY_US = 86_400_000_000
REST_WITHIN_S = 15.0


class Backfills:
    """Tells each gap that ends to whoever can fill it."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        writer: Writer,
        storage: StorageSettings,
        markets: Mapping[str, MarketBranch],
        state_of: Callable[[str], State],
    ) -> None:
        self._inbox = inbox
        self._writer = writer
        self._storage = storage
        self._markets = markets  # the tree's own, by id
        self._state_of = state_of
        self._unfilled: dict[str, UnfilledGaps] = {}  # by venue
        inbox.gaps.on_closed = self._take

    def _take(self, gap: Gap) -> None:
        unfilled = self._unfilled.get(split_market_id(gap.market)[1])
        if unfilled is not None:
            unfilled.put(gap)

    def add(self, branch: VenueBranch, *, supervision: SupervisionSettings) -> Child | None:
        """Return the child that fills a venue's gaps; None where it has no history."""
        place = branch.place
        history = place.venue.history
        if history is None:
            return None
        unfilled = self._unfilled[place.name] = UnfilledGaps()
        backfill = BackfillPlace(
            venue=place.name,
            history=history,
            timeframes_s=self._storage.timeframes_s,
            keep_us=self._storage.keep_ticks_days * DAY_US,
            unfilled=unfilled,
            inbox=self._inbox,
            ask=self._asker(place, history),
            is_idle=partial(self._is_idle, branch),
            flushed=self._writer.flushed,
            read=self._writer.read,
        )
        name = f"backfill/{place.name}"
        return Child(
            name=name,
            run=lambda: Backfill(backfill).run(),
            row=ChildRow(name=name),
            policy=RestartPolicy(settings=supervision),
        )

    def remove(self, venue: str) -> None:
        """Forget a venue's gaps; they are found in the database if it comes back."""
        self._unfilled.pop(venue, None)

    def _asker(
        self, place: VenuePlace, history: History
    ) -> Callable[[HistoryRequest], Awaitable[HistoryPage]]:
        if history.rest is None:
            return partial(self._ask_socket, place)
        return partial(_ask_rest, place, history.rest)

    async def _ask_socket(self, place: VenuePlace, request: HistoryRequest) -> HistoryPage:
        branch = self._markets.get(market_id(symbol=request.symbol, venue=place.name))
        answer = Answer[HistoryPage]()
        asked = AskHistory(request=request, answer=answer)
        if branch is None or not branch.connection.place.requests.put_nowait(asked):
            raise ConnectionLost(f"{request.symbol}: no connection takes a request for history now")
        return await answer.wait()

    def _is_idle(self, branch: VenueBranch, market: str) -> bool:
        """Whether history may be asked for: the market is live, and nobody of its venue waits to start."""
        return market in self._markets and self._state_of(market) is State.LIVE and branch.gate.is_idle


async def _ask_rest(place: VenuePlace, rest: RestHistory, request: HistoryRequest) -> HistoryPage:
    symbol = place.catalog.symbol_of(request.symbol)
    asked = request._replace(symbol=symbol)
    answer = await fetch(
        rest.request(asked, place.venue.rest_address(place.settings)), timeout_s=REST_WITHIN_S
    )
    return rest.read(asked, answer.body)
