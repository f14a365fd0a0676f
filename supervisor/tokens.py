"""Every venue's token: read from its file, watched, told of before it expires, refreshed if asked to."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import trio

from domain.clock import as_text, now_us
from domain.errors import ConfigError, PermanentError
from domain.events import Event, emit
from domain.token import Stage, TokenState, duration_text, expiry_us, stage_of
from supervisor.token_files import Stamp, read_token, refresh_path, stamp_of, token_path, write_token
from supervisor.token_refresh import FAILURES, Fetch, RefreshPlan, ask_fresh_token, is_final
from venues.offers import RefreshToken
from venues.protocol import TokenUse, Venue
from venues.settings import VenueSettings
from wire import rest

LOOK_EVERY_S = 2.0  # a changed file is to be noticed within 5 s


@attrs.define(kw_only=True, eq=False)
class _Kept:
    """What is known of one venue's token.

    `life_us` is what it had left when it was new, None for one that was there at the start.
    """

    name: str
    venue: Venue
    settings: VenueSettings
    path: Path
    refresh_path: Path
    stamps: tuple[Stamp | None, Stamp | None] = (None, None)
    token: str | None = attrs.field(default=None, repr=False)
    problem: str = ""
    expires_us: int | None = None
    life_us: int | None = None
    said: Stage = Stage.FAR
    is_refused: bool = False
    plan: RefreshPlan = attrs.field(factory=RefreshPlan)
    is_writing: bool = False  # what is found in the files until then is half of it

    def left_us(self) -> int | None:
        return None if self.expires_us is None else self.expires_us - now_us()

    def state(self) -> TokenState:
        if self.token is None:
            return TokenState.NONE
        if self.is_refused:
            return TokenState.REFUSED
        stage = stage_of(self.expires_us, now_us=now_us())
        if stage is Stage.EXPIRED:
            return TokenState.EXPIRED
        return TokenState.GOOD if stage is Stage.FAR else TokenState.EXPIRES_SOON


class Tokens:
    """The child that watches over tokens.

    Reads: the token files, every 2 s (their stamps; their content when that changed). Writes: a
    fresh token and its refresh token, where one was given; events `token`. Owns: what is known of
    each venue's token. Calls `rearm(venue)` when a token changed: connections that use the old one
    are to start over. Crashes on: nothing expected. A restart forgets nothing: the state is the
    object's, `run` may be called again.
    """

    def __init__(self, *, state_dir: Path, rearm: Callable[[str], None], fetch: Fetch = rest.fetch) -> None:
        self._state_dir = state_dir
        self._rearm = rearm
        self._fetch = fetch
        self._kept: dict[str, _Kept] = {}

    # --- what others ask and tell ---------------------------------------------------------------

    def add_venue(self, name: str, *, venue: Venue, settings: VenueSettings) -> None:
        """Watch a venue's token from now on, in the place of what was known of that name."""
        kept = _Kept(
            name=name,
            venue=venue,
            settings=settings,
            path=token_path(self._state_dir, venue=name, settings=settings),
            refresh_path=refresh_path(self._state_dir, venue=name),
        )
        if venue.token is not TokenUse.NONE:
            kept.stamps = self._stamps(kept)
            _read(kept)
        self._kept[name] = kept

    def remove_venue(self, name: str) -> None:
        """Watch it no more."""
        del self._kept[name]

    def token_for(self, name: str) -> str | None:
        """Return the token to log in with; None where the venue needs none and there is none.

        Raises PermanentError, which says what to do, where there is none that could be used.
        """
        kept = self._kept[name]
        if kept.venue.token is TokenUse.NONE:
            return None
        if kept.problem:
            raise PermanentError(kept.problem)
        if kept.token is None:
            if kept.venue.token is TokenUse.OPTIONAL:
                return None
            raise PermanentError(f"{name} needs a token: {_advice(name)}")
        if kept.state() is TokenState.EXPIRED:
            assert kept.expires_us is not None
            raise PermanentError(
                f"the token of {name} expired at {as_text(kept.expires_us)}: {_advice(name)}"
            )
        return kept.token

    def refused(self, name: str, *, token: str | None) -> None:
        """The venue said no to this token; one that took its place meanwhile is not concerned."""
        kept = self._kept.get(name)
        if kept is None or token is None or token != kept.token or kept.is_refused:
            return
        kept.is_refused = True
        _say(kept, f"{name} refuses the token: {_advice(name)}", level=logging.ERROR)

    def status(self, name: str) -> Mapping[str, str | float | None]:
        """Return what status shows of a venue's token; never the token."""
        kept = self._kept[name]
        left_us = kept.left_us()
        return {
            "state": kept.state().value,
            "expires_us": kept.expires_us,
            "left_s": None if left_us is None else max(0, left_us // 1_000_000),
            "reason": kept.problem,
        }

    # --- watching -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at every file every 2 s, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                for kept in list(self._kept.values()):
                    if kept.venue.token is not TokenUse.NONE and not kept.is_writing:
                        self._look(kept)
                        _say_how_long(kept)
                        self._refresh_if_due(kept, nursery)
                await trio.sleep(LOOK_EVERY_S)

    def _stamps(self, kept: _Kept) -> tuple[Stamp | None, Stamp | None]:
        return stamp_of(kept.path), stamp_of(kept.refresh_path)

    def _look(self, kept: _Kept) -> None:
        """Read the token again if its file changed; have its connections start over with it.

        One that was written again as it was counts as new where it was refused: its owner wants
        another try. A file that is gone, or cannot be used, or whose token has expired, leaves open
        sessions alone.
        """
        stamps, before = self._stamps(kept), kept.stamps
        if stamps == before:
            return
        kept.stamps = stamps
        kept.plan = RefreshPlan()
        if stamps[0] == before[0]:
            return
        old, was_refused = kept.token, kept.is_refused
        _read(kept)
        kept.life_us = kept.left_us()
        if kept.token is None or kept.state() is TokenState.EXPIRED:
            state = "is gone" if kept.token is None else "has expired"
            why = kept.problem or f"token file {kept.path}: {state}"
            _say(kept, f"{kept.name}: {why}; open connections stay as they are", level=logging.WARNING)
        elif kept.token != old or was_refused:
            _say(kept, f"{kept.name} has a new token, which {_lifetime(kept)}; connecting with it")
            self._rearm(kept.name)

    def _look_if_kept(self, kept: _Kept) -> None:
        if self._kept.get(kept.name) is kept:  # not removed while something was waited for
            self._look(kept)

    # --- refreshing -----------------------------------------------------------------------------

    def _refresh_if_due(self, kept: _Kept, nursery: trio.Nursery) -> None:
        refresh = kept.venue.refresh_token
        if refresh is None or kept.stamps[1] is None:
            return
        now = trio.current_time()
        if kept.plan.is_due(kept.state(), now=now, left_us=kept.left_us(), life_us=kept.life_us):
            kept.plan.begin(now=now)
            nursery.start_soon(self._refresh, kept, refresh, name=f"refresh the token of {kept.name}")

    async def _refresh(self, kept: _Kept, refresh: RefreshToken) -> None:
        """Ask for a fresh token and put it into the file, where it is found as any other new one."""
        plan, state, old = kept.plan, kept.state(), kept.token
        try:
            secret = read_token(kept.refresh_path)
            if secret is None:
                return
            fresh = await ask_fresh_token(refresh, settings=kept.settings, secret=secret, fetch=self._fetch)
            self._look_if_kept(kept)
            writes = [(kept.refresh_path, fresh.refresh_token)]
            if kept.token == old:  # else somebody set one meanwhile: theirs holds
                writes.append((kept.path, fresh.token))
            await self._write(kept, writes)
        except (*FAILURES, ConfigError, OSError) as exc:
            if is_final(exc):
                plan.give_up()
            next_step = _advice(kept.name) if plan.is_over else "trying again in 10 min"
            _say(kept, f"no fresh token for {kept.name}: {exc}; {next_step}", level=logging.WARNING)
            return
        self._look_if_kept(kept)
        kept.plan = plan  # its own writing is no reason to forget how often it has tried
        plan.succeed(state)

    async def _write(self, kept: _Kept, writes: list[tuple[Path, str | None]]) -> None:
        kept.is_writing = True
        try:
            for path, token in writes:  # the refresh token first: the old one may be good for nothing now
                if token is not None:
                    await trio.to_thread.run_sync(write_token, path, token)
        finally:
            kept.is_writing = False


def _read(kept: _Kept) -> None:
    """Take what the file says; nothing is known of a new token yet."""
    kept.problem = ""
    try:
        kept.token = read_token(kept.path)
    except PermanentError as exc:
        kept.token = None
        kept.problem = str(exc)
    kept.expires_us = None if kept.token is None else expiry_us(kept.token)
    kept.said = Stage.FAR
    kept.is_refused = False


def _say_how_long(kept: _Kept) -> None:
    """Say once a token that 12 h, 2 h or nothing is left of it."""
    stage = stage_of(kept.expires_us, now_us=now_us())
    if stage <= kept.said:
        return
    kept.said = stage
    assert kept.expires_us is not None
    level = logging.ERROR if stage is Stage.EXPIRED else logging.WARNING
    message = f"the token of {kept.name} {_lifetime(kept)}, at {as_text(kept.expires_us)}"
    _say(kept, f"{message}: {_advice(kept.name)}", level=level)


def _lifetime(kept: _Kept) -> str:
    left_us = kept.left_us()
    if left_us is None:
        return "does not say when it expires"
    return "has expired" if left_us <= 0 else f"expires in {duration_text(left_us)}"


def _advice(name: str) -> str:
    return f"`marketd token set {name}` with a new one"


def _say(kept: _Kept, message: str, *, level: int = logging.INFO) -> None:
    emit(
        Event.TOKEN,
        message,
        level=level,
        actor="tokens",
        venue=kept.name,
        token_state=kept.state().value,  # not `state`: two words on one state are no repetition
        expires_us=kept.expires_us,
    )
