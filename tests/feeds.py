"""Connections and markets without a tree, and the venue's side of a loopback socket."""

import contextlib
import json
from collections.abc import AsyncIterator

import attrs
import trio
import trio_websocket
from loopback import HOST, websocket_server

from actors.connection import Connection
from actors.mailbox import BatchMailbox, Link, Mailbox
from actors.market import Market, MarketPlace
from actors.ports import ConnectionPlace, MarketPort, VenuePlace
from domain.gaps import GapLedger, GapTracker
from domain.hours import MarketHours
from domain.instruments import Catalog
from domain.market import Tick
from domain.messages import Request
from domain.skew import ClockSkew
from domain.stamping import Stamper
from domain.states import ConnectionRow, MarketRow
from venues import find_venue
from venues.protocol import Venue
from venues.settings import VenueSettings
from wire.recording import Recorder

CLOSED_URL = f"ws://{HOST}:1/"  # tcpmux: nobody listens there


async def no_gate() -> None:
    await trio.lowlevel.checkpoint()


@attrs.define(kw_only=True, eq=False)
class Feed:
    """One connection's place and those of its markets, as the tree would make them."""

    connection: ConnectionPlace
    changes: list[str]
    gaps: GapLedger

    @property
    def row(self) -> ConnectionRow:
        return self.connection.row

    @property
    def link(self) -> Link:
        return self.connection.link

    def port(self, symbol: str) -> MarketPort:
        return self.connection.ports[symbol]

    def recorded(self) -> list[Tick]:
        """Take what the writer would be given."""
        return drain(self.connection.ticks)

    def followed(self, symbol: str) -> list[Tick]:
        """Take what the market would be given."""
        return drain(self.port(symbol).mailbox)

    def market_place(self, symbol: str, *, resubscribe_max_s: float = 60.0) -> MarketPlace:
        port = self.port(symbol)
        return MarketPlace(
            row=port.row,
            mailbox=port.mailbox,
            link=self.link,
            requests=self.connection.requests,
            wait_turn=no_gate,
            changed=port.changed,
            gaps=port.gaps,
            resubscribe_max_s=resubscribe_max_s,
        )

    async def run_connection(self) -> None:
        await Connection(self.connection).run()

    async def run_market(self, symbol: str) -> None:
        await Market(self.market_place(symbol)).run()


def make_feed(
    *symbols: str,
    url: str = CLOSED_URL,
    stale_after_s: float = 60.0,
    market_bound: int = 1024,
    venue: Venue | None = None,
    recorder: Recorder | None = None,
) -> Feed:
    row = ConnectionRow(name="binance/1", venue="binance")
    changes: list[str] = []
    gaps = GapLedger()
    ports = {}
    for symbol in symbols:
        market = f"{symbol}@binance"
        tracker = GapTracker(market=market, ledger=gaps)
        hours = MarketHours(gaps=tracker)
        ports[symbol] = MarketPort(
            row=MarketRow(
                name=market,
                symbol=symbol,
                venue="binance",
                stale_after_s=stale_after_s,
                connection=row,
                hours=hours,
            ),
            mailbox=BatchMailbox[list[Tick]](name=f"market/{market}", bound=market_bound),
            stamper=Stamper(market=market),
            gaps=tracker,
            hours=hours,
            changed=lambda market=market: changes.append(market),  # type: ignore[misc]
        )
    shared = VenuePlace(
        name="binance",
        venue=venue or find_venue("binance"),
        settings=VenueSettings(protocol="binance", url=url),
        catalog=Catalog(venue="binance"),
        skew=ClockSkew(),
        read_token=lambda: None,
        token_refused=lambda _: None,
        listed=lambda: None,
        terms_told=lambda: None,
        wait_turn=no_gate,
        recorder=recorder,
    )
    place = ConnectionPlace(
        row=row,
        shared=shared,
        link=Link(),
        requests=Mailbox[Request](name="connection/binance/1", bound=100),
        ports=ports,
        ticks=BatchMailbox[list[Tick]](name="writer/ticks", bound=65_536),
        changed=lambda: changes.append("binance/1"),
        spawn=nobody_beside,
    )
    return Feed(connection=place, changes=changes, gaps=gaps)


def nobody_beside(*_: object) -> None:
    raise AssertionError("nothing runs beside this connection")


def drain(box: BatchMailbox[list[Tick]]) -> list[Tick]:
    taken: list[Tick] = []
    with contextlib.suppress(trio.WouldBlock):
        while True:
            taken += box.get_nowait()
    return taken


def trade(symbol: str, number: int, *, price: str = "1.5") -> str:
    """Return the frame of one trade."""
    data = {"e": "aggTrade", "s": symbol, "a": number, "p": price, "q": "2", "T": 1_700_000_000_000 + number}
    return json.dumps({"stream": f"{symbol.lower()}@aggTrade", "data": data})


# --- the venue's side -------------------------------------------------------------------------


class AnswersLikeBinance:
    """Confirms every request; what else it sends, the test says."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, str, list[str]]] = []  # when, method, streams
        self.heard_on: list[tuple[int, str, list[str]]] = []  # number of the client, method, streams
        self.clients: list[trio_websocket.WebSocketConnection] = []
        self.goodbyes: list[int] = []

    async def serve(self, client: trio_websocket.WebSocketConnection) -> None:
        self.clients.append(client)
        try:
            while True:
                await self.answer(client, json.loads(await client.get_message()))
        except trio_websocket.ConnectionClosed as closed:
            if closed.reason is not None:
                self.goodbyes.append(closed.reason.code)

    async def answer(self, client: trio_websocket.WebSocketConnection, request: dict[str, object]) -> None:
        streams = request["params"]
        assert isinstance(streams, list)
        self.heard.append((trio.current_time(), str(request["method"]), streams))
        self.heard_on.append((self.clients.index(client), str(request["method"]), streams))
        await self.confirm(client, request["id"])

    async def confirm(self, client: trio_websocket.WebSocketConnection, number: object) -> None:
        await client.send_message(json.dumps({"result": None, "id": number}))

    async def send(self, *frames: str) -> None:
        """Send to the latest client."""
        for frame in frames:
            await self.clients[-1].send_message(frame)

    def methods(self) -> list[str]:
        return [method for _, method, _ in self.heard]


class NeverConfirms(AnswersLikeBinance):
    async def confirm(self, client: trio_websocket.WebSocketConnection, number: object) -> None:
        pass


class RefusesEverySymbol(AnswersLikeBinance):
    async def confirm(self, client: trio_websocket.WebSocketConnection, number: object) -> None:
        await client.send_message(json.dumps({"error": {"code": 2, "msg": "no such stream"}, "id": number}))


@contextlib.asynccontextmanager
async def serving(venue: AnswersLikeBinance) -> AsyncIterator[str]:
    """Serve it for the length of the block; yield its address."""
    async with websocket_server(venue.serve) as port:
        yield f"ws://{HOST}:{port}/stream"
