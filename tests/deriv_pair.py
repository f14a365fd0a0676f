"""Deriv's adapter and its simulated side, back to back, without sockets; what each says is checked."""

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
from hosts import HostKeepsAll

from venues.deriv import VENUE, DerivAdapter
from venues.events import Send, VenueEvent
from venues.protocol import SessionContext
from venues.settings import VenueSettings
from venues.simulated.deriv import SimulatedDeriv
from venues.simulated.hours import Hours
from venues.simulated.prices import PricePath
from venues.simulated.protocol import Request

SCHEMAS = Path(__file__).parent / "recordings" / "deriv-schemas"
STARTED_US = 1_763_909_512_000_000  # a Sunday, 14:51 UTC
CALLS = {"tick": "ticks", "history": "ticks_history", "candles": "ticks_history"}


@functools.cache
def schema(name: str) -> jsonschema.Draft4Validator:
    return jsonschema.Draft4Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def check_sent(frame: str) -> None:
    """Fail unless Deriv's own schema of the call takes this request."""
    request = json.loads(frame)
    [call] = [call for call in ("authorize", "ticks_history", *request) if call in request][:1]
    schema(f"{call}.send").validate(request)


def check_received(frame: str) -> None:
    """Fail unless Deriv's own schema of the call describes this answer."""
    answer = json.loads(frame)
    kind = answer["msg_type"]
    schema(f"{CALLS.get(kind, kind)}.receive").validate(answer)


def make_venue(*symbols: str, hours: Hours = Hours.ALWAYS, started_us: int = STARTED_US) -> SimulatedDeriv:
    prices = {symbol: PricePath(seed=7, symbol=symbol) for symbol in symbols}
    return SimulatedDeriv(prices=prices, started_us=started_us, accepts=lambda _: False, hours=hours)


def context(*, dialect: str | None = None, token: str | None = None) -> SessionContext:
    settings = VenueSettings(protocol="deriv", dialect=dialect, app_id="1089")
    return SessionContext(settings=settings, token=token, started_us=STARTED_US)


class Clock:
    """The time of all pairs of one venue."""

    def __init__(self) -> None:
        self.at_s = 0.0

    @property
    def at_us(self) -> int:
        return STARTED_US + round(self.at_s * 1_000_000)


class Pair:
    """One socket: the client keeps the distance between frames that its venue's limits ask for."""

    def __init__(
        self,
        venue: SimulatedDeriv,
        *,
        dialect: str | None = None,
        token: str | None = None,
        clock: Clock | None = None,
        spacing_s: float = VENUE.frame_spacing_s,
    ) -> None:
        given = context(dialect=dialect, token=token)
        assert VENUE.make_upgrade is not None
        url = VENUE.make_upgrade(given.settings, token).url
        request = Request("GET", url.partition(".com")[2], {})
        self.clock = clock or Clock()
        self.venue = venue
        assert venue.knock(request, at_us=self.clock.at_us) is None
        self.host = HostKeepsAll(lambda: self.clock.at_us)
        self.session = venue.open_session(request=request, host=self.host, at_us=self.clock.at_us)
        self.adapter = DerivAdapter(given)
        self.events: list[VenueEvent] = []
        self.answers: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self._is_legacy = dialect == "legacy"
        self._spacing_s = spacing_s
        self._outgoing: list[str] = []
        self._pinged_s = self.clock.at_s

    def say(self, frames: Iterable[str]) -> list[VenueEvent]:
        """Send these and what follows from the answers; return what all of it said."""
        before = len(self.events)
        self._outgoing += frames
        while self._outgoing:
            frame = self._outgoing.pop(0)
            self.requests.append(json.loads(frame))
            if self._is_legacy:
                check_sent(frame)
            assert self.session.take_frame(at_s=self.clock.at_s) == ""
            self._hear(self.session.receive(frame))
            self._pass(self._spacing_s)
        return self.events[before:]

    def settle(self, for_s: float = 2.0) -> list[VenueEvent]:
        """Let late answers come, and say what follows from them."""
        before = len(self.events)
        self._pass(for_s)
        self.say(())
        return self.events[before:]

    def tick(self, *symbols: str) -> list[VenueEvent]:
        """Move these markets' prices a second on; return what the adapter made of their frames."""
        self._pass(1.0)
        self.keep_alive()
        before = len(self.events)
        for symbol in symbols or self.venue.symbols:
            self.venue.tick(symbol, at_us=self.clock.at_us)
        self.hear_ticks()
        return self.events[before:]

    def keep_alive(self) -> None:
        """Ping as often as the connection does."""
        assert VENUE.ping_every_s is not None
        if self.clock.at_s - self._pinged_s >= VENUE.ping_every_s:
            self._pinged_s = self.clock.at_s
            self.say(self.adapter.ping())

    def hear_ticks(self) -> None:
        ticks, self.host.ticks = self.host.ticks, []
        self._hear([self.session.frame(tick) for tick in ticks])

    def subscribe(self, *symbols: str) -> list[VenueEvent]:
        """Open the session and subscribe these; return all that was said."""
        self.say(self.adapter.opening())
        self.settle()
        self.say(self.adapter.subscribe(symbols))
        self.settle()
        return self.events

    def _pass(self, for_s: float) -> None:
        self.clock.at_s += for_s
        self.venue.pass_time(at_us=self.clock.at_us)
        self.host.pass_time(for_s)
        self._hear(self.host.take_sent())

    def _hear(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.answers.append(json.loads(text))
            if self._is_legacy:
                check_received(text)
            for event in self.adapter.receive(text):
                self.events.append(event)
                if isinstance(event, Send):
                    self._outgoing += event.frames


# --- single answers ---------------------------------------------------------------------------

ID = "b4d42748-0744-c46b-f59b-cb7dd936bafa"
# flutter-deriv-api, mock data, 2020
TICK = {
    "echo_req": {"ticks": "R_50"},
    "msg_type": "tick",
    "subscription": {"id": ID},
    "tick": {
        "ask": 218.1026,
        "bid": 218.0826,
        "epoch": 1587547610,
        "id": ID,
        "pip_size": 4,
        "quote": 218.0926,
        "symbol": "R_50",
    },
}


def hear(adapter: DerivAdapter, message: object) -> Sequence[VenueEvent]:
    return adapter.receive(json.dumps(message))


def confirm(adapter: DerivAdapter, req_id: int, *, symbol: str = "R_50", subscription: str = ID) -> Any:
    """Answer a subscription's request, as the venue does."""
    tick = {**TICK["tick"], "symbol": symbol}  # type: ignore[dict-item]
    answer = {**TICK, "req_id": req_id, "subscription": {"id": subscription}, "tick": tick}
    return hear(adapter, answer)


def error(code: str, *, req_id: int | None, kind: str = "tick", message: str = "Because.") -> dict[str, Any]:
    answer = {"echo_req": {}, "error": {"code": code, "message": message}, "msg_type": kind}
    return answer if req_id is None else {**answer, "req_id": req_id}


def past_page(
    times: Sequence[object], *, req_id: int, prices: Sequence[object] | None = None
) -> dict[str, Any]:
    told = {"times": times, "prices": [1.5] * len(times) if prices is None else prices}
    return {"history": told, "msg_type": "history", "pip_size": 4, "req_id": req_id}
