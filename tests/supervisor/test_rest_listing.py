"""The list of markets over HTTP: asked for seldom, and nobody waits long for it."""

from typing import Any

import pytest
import trio
from feeds import make_feed
from trio.testing import MockClock

from domain.errors import ConnectionLost
from domain.instruments import Instrument, Listing
from supervisor import rest_listing
from supervisor.rest_listing import AGAIN_AFTER_S, GOOD_FOR_S, RestLister
from venues.offers import HttpRequest, RestListing
from wire.rest import Answer

OFFER = RestListing(
    request=lambda base, _: HttpRequest("GET", f"{base}/list", {}),
    read=lambda body: Listing((Instrument(body.decode()),), is_whole=True),
)


class Server:
    """Answers with what the test says; counts who asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.pause_s = 0.0

    async def fetch(self, request: Any, *, timeout_s: float) -> Answer:
        self.asked += 1
        await trio.sleep(self.pause_s)
        if self.error is not None:
            raise self.error
        return Answer(status=200, headers={}, body=b"EURUSD")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(rest_listing, "fetch", server.fetch)
    return server


def make_lister() -> RestLister:
    return RestLister(make_feed().connection.shared, OFFER)


async def test_a_list_is_good_for_hours(server: Server, autojump_clock: MockClock) -> None:
    lister = make_lister()
    for _ in range(3):
        await lister.ask_if_due()
    assert (server.asked, list(lister.place.catalog.instruments)) == (1, ["EURUSD"])
    await trio.sleep(GOOD_FOR_S)
    await lister.ask_if_due()
    assert server.asked == 2


async def test_those_who_come_together_ask_once(server: Server, autojump_clock: MockClock) -> None:
    lister, server.pause_s = make_lister(), 1.0
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lister.ask_if_due)
    assert server.asked == 1


async def test_a_list_that_could_not_be_had_is_asked_for_again_a_minute_later(
    server: Server, autojump_clock: MockClock
) -> None:
    lister, server.error = make_lister(), ConnectionLost("away")
    for _ in range(3):
        await lister.ask_if_due()
    assert server.asked == 1
    await trio.sleep(AGAIN_AFTER_S)
    await lister.ask_if_due()
    assert server.asked == 2


async def test_who_is_stopped_while_it_asks_leaves_the_next_one_to_ask(
    server: Server, autojump_clock: MockClock
) -> None:
    lister, server.pause_s = make_lister(), 5.0
    with trio.move_on_after(1.0):
        await lister.ask_if_due()
    await lister.ask_if_due()
    assert (server.asked, list(lister.place.catalog.instruments)) == (2, ["EURUSD"])
