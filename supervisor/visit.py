"""A short session with a venue outside of the daemon: logs in, lists, listens; never orders."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio

from domain.clock import now_us
from domain.errors import (
    ConnectionClosed,
    PermanentError,
    RemoteProtocolError,
    UpgradeRefused,
    VenueSilent,
    VenueThrottled,
    flatten,
)
from domain.instruments import Catalog, Listing
from supervisor.policy import worst
from supervisor.token_files import read_token, token_path
from venues import find_venue
from venues.events import Denied, Payouts, Send, StakeLimits, Throttled, VenueEvent
from venues.protocol import SessionContext, TokenUse, Venue
from venues.settings import VenueSettings
from venues.verdict import verdict
from wire.recording import Recorder
from wire.rest import fetch
from wire.websocket import Socket, dial

LIST_WITHIN_S = 20.0
MORE_WITHIN_S = 2.0  # after the list: payouts and limits, which come by themselves


class Visitor:
    """One session of a visit. What it reads and sends is recorded where somebody wants that."""

    def __init__(
        self, socket: Socket, *, venue: Venue, context: SessionContext, recorder: Recorder | None
    ) -> None:
        self.adapter = venue.make_adapter(context)
        self._socket = socket
        self._venue = venue
        self._recorder = recorder
        self._may_send_at = 0.0

    async def send(self, frames: Sequence[str]) -> None:
        """Send frames as far apart as the venue allows."""
        for frame in frames:
            await trio.sleep_until(self._may_send_at)
            self._may_send_at = trio.current_time() + self._venue.frame_spacing_s
            if self._recorder is not None:
                self._recorder.record_out(frame)
            await self._socket.send(frame)

    async def receive(self) -> list[str | bytes]:
        """Wait for the frames of one read."""
        frames = await self._socket.receive()
        for frame in frames:
            if self._recorder is not None:
                self._recorder.record_in(frame if isinstance(frame, str) else frame.decode(errors="replace"))
        return frames

    async def take(self, frame: str | bytes) -> list[VenueEvent]:
        """Return what a frame says, and send what the adapter wants sent.

        Raises `RemoteProtocolError`, and `PermanentError` or `VenueThrottled` where the venue says no.
        """
        events = list(self.adapter.receive(frame))
        for event in events:
            match event:
                case Send(frames):
                    await self.send(frames)
                case Denied(reason):
                    raise PermanentError(reason)
                case Throttled(reason, retry_after_s):
                    raise VenueThrottled(reason, retry_after_s=retry_after_s)
        return events


@contextlib.asynccontextmanager
async def visiting(
    name: str, settings: VenueSettings, *, state_dir: Path, recorder: Recorder | None = None
) -> AsyncIterator[Visitor]:
    """Open a session for the length of the block; the opening words are said.

    Raises our errors, in exception groups; `PermanentError` where there is no token, or it is refused.
    """
    venue = find_venue(settings.protocol)
    token = _token(name, settings, venue=venue, state_dir=state_dir)
    if recorder is not None and token is not None:
        recorder.keep_secret(token)
    upgrade = venue.upgrade(settings, token)
    context = SessionContext(settings=settings, token=token, started_us=now_us())
    try:
        async with dial(upgrade.url, headers=upgrade.headers, timeout_s=settings.connect_timeout_s) as socket:
            visitor = Visitor(socket, venue=venue, context=context, recorder=recorder)
            await visitor.send(visitor.adapter.opening())
            yield visitor
    except* (UpgradeRefused, ConnectionClosed) as group:
        raise verdict(flatten(group)[0], venue=venue, name=name) from group


def _token(name: str, settings: VenueSettings, *, venue: Venue, state_dir: Path) -> str | None:
    if venue.token is TokenUse.NONE:
        return None
    token = read_token(token_path(state_dir, venue=name, settings=settings))
    if token is None and venue.token is TokenUse.REQUIRED:
        raise PermanentError(f"{name} needs a token: `marketd token set {name}`")
    return token


# --- the list of markets ----------------------------------------------------------------------


def visit(name: str, settings: VenueSettings, *, state_dir: Path) -> Catalog:
    """Return what a venue lists now. Raises our errors, the one that decides."""
    try:
        return trio.run(_list, name, settings, state_dir)
    except BaseExceptionGroup as group:
        raise worst(group) from group


async def _list(name: str, settings: VenueSettings, state_dir: Path) -> Catalog:
    catalog = Catalog(venue=name)
    venue = find_venue(settings.protocol)
    if venue.rest_listing is not None:
        request = venue.rest_listing.request(venue.rest_address(settings), ())
        answer = await fetch(request, timeout_s=LIST_WITHIN_S)
        catalog.take(venue.rest_listing.read(answer.body), at_us=now_us())
        return catalog
    if not venue.lists_markets:
        return catalog
    async with visiting(name, settings, state_dir=state_dir) as visitor:
        with trio.move_on_after(LIST_WITHIN_S):
            while catalog.listed_us is None:
                await _note(visitor, catalog)
        if catalog.listed_us is None:
            raise VenueSilent(f"{name} sent no list of its markets within {LIST_WITHIN_S:.0f} s")
        with trio.move_on_after(MORE_WITHIN_S):
            while not catalog.payouts:
                await _note(visitor, catalog)
    return catalog


async def _note(visitor: Visitor, catalog: Catalog) -> None:
    for frame in await visitor.receive():
        with contextlib.suppress(RemoteProtocolError):  # the probe is for those
            for event in await visitor.take(frame):
                match event:
                    case Listing():
                        catalog.take(event, at_us=now_us())
                    case Payouts(percents):
                        catalog.take_payouts(percents)
                    case StakeLimits(limits):
                        catalog.take_stake_limits(limits)
