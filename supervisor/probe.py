"""Probes a venue: a session of its own that logs in, lists, subscribes one market and listens."""

from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from domain.clock import now_us
from domain.errors import RemoteProtocolError, UnknownSymbol
from domain.instruments import Catalog, Instrument, Listing
from supervisor.probe_findings import Findings
from supervisor.visit import LIST_WITHIN_S, Visitor, visiting
from venues import find_venue
from venues.protocol import Venue
from venues.settings import VenueSettings
from wire.recording import Recorder
from wire.rest import fetch

SETTLE_S = 2.0  # after the list: balances, payouts and limits, which come by themselves
PING_EVERY_S = 10.0  # oftener than a daemon would: a minute is to show several


@attrs.frozen(kw_only=True)
class Probe:
    """What to probe. `wanted` are the settings' symbols of the venue, tried first."""

    name: str
    settings: VenueSettings
    state_dir: Path
    wanted: Sequence[str]
    seconds: float
    recorder: Recorder | None

    @property
    def venue(self) -> Venue:
        """The protocol that the settings name."""
        return find_venue(self.settings.protocol)

    async def run(self, findings: Findings, catalog: Catalog) -> None:
        """Fill in both. Raises our errors, in exception groups; what was found until then stays."""
        rest = self.venue.rest_listing
        if rest is not None:
            request = rest.request(self.venue.rest_address(self.settings), self.wanted)
            answer = await fetch(request, timeout_s=LIST_WITHIN_S)
            catalog.take(rest.read(answer.body), at_us=now_us())
        async with visiting(
            self.name, self.settings, state_dir=self.state_dir, recorder=self.recorder
        ) as visitor:
            listener = _Listener(visitor, findings=findings, catalog=catalog)
            await listener.ping()
            if self.venue.lists_markets:
                await listener.listen_for_list()
            await listener.listen(SETTLE_S)
            findings.market = self._choose(catalog)
            if findings.market:
                await visitor.send(visitor.adapter.subscribe([findings.market]))
            await listener.listen(self.seconds)

    def _choose(self, catalog: Catalog) -> str:
        """Return a market that is open: of those in the settings the first, else any; "" for none."""
        if catalog.listed_us is None:
            return self.wanted[0] if self.wanted else ""
        found: list[Instrument] = []
        for name in self.wanted:
            try:
                found.append(catalog.find(name))
            except UnknownSymbol:
                continue  # `check` and the daemon name it
        candidates = (*found, *catalog.instruments.values())
        return next((each.symbol for each in candidates if each.is_open), "")


class _Listener:
    """Reads a visit's frames, pings, and counts."""

    def __init__(self, visitor: Visitor, *, findings: Findings, catalog: Catalog) -> None:
        self._visitor = visitor
        self._findings = findings
        self._catalog = catalog
        self._ping_at = 0.0

    async def ping(self) -> None:
        """Ask for the venue's clock, where it can be asked for."""
        frames = self._visitor.adapter.ping()
        self._ping_at = trio.current_time() + PING_EVERY_S
        if frames:
            self._findings.pings += 1
            self._findings.pinged_us = now_us()
            await self._visitor.send(frames)

    async def listen_for_list(self) -> None:
        """Read until the list of markets is there, for no longer than it may take."""
        end_at = trio.current_time() + LIST_WITHIN_S
        while self._catalog.listed_us is None and trio.current_time() < end_at:
            await self._read(end_at)

    async def listen(self, seconds: float) -> None:
        """Read for so long."""
        end_at = trio.current_time() + seconds
        while trio.current_time() < end_at:
            await self._read(end_at)

    async def _read(self, end_at: float) -> None:
        """Take the frames of one read; ping when it is time to."""
        if trio.current_time() >= self._ping_at:
            await self.ping()
        received: list[str | bytes] = []
        with trio.move_on_at(min(end_at, self._ping_at)):
            received = await self._visitor.receive()
        for frame in received:
            await self._take(frame)

    async def _take(self, frame: str | bytes) -> None:
        received_us = now_us()
        try:
            events = await self._visitor.take(frame)
        except RemoteProtocolError as exc:
            self._findings.take_undecodable(str(exc))
            return
        for event in events:
            if isinstance(event, Listing):
                self._catalog.take(event, at_us=received_us)
            self._findings.take(event, received_us=received_us)
