import logging
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from jwts import jwt_until
from trio.testing import MockClock

from domain.errors import ConnectionLost, MarketdError, PermanentError, RejectedError
from domain.token import HOUR_US, TokenState
from supervisor import tokens as tokens_module
from supervisor.token_files import make_folder, read_token, refresh_path, write_token
from supervisor.tokens import Tokens
from venues import find_venue
from venues.offers import HttpRequest
from venues.olymptrade_token import REFRESH_TOKEN
from venues.protocol import TokenUse, Venue
from venues.settings import VenueSettings
from wire.rest import Answer

BEGIN_US = 1_795_000_000_000_000
VENUE = attrs.evolve(find_venue("binance"), token=TokenUse.REQUIRED, refresh_token=REFRESH_TOKEN)
SETTINGS = VenueSettings(protocol="binance")
NAME = "olymp"


class Endpoint:
    """The venue's token endpoint; counts, and answers with what `outcomes` says, the last for ever."""

    def __init__(self) -> None:
        self.outcomes: list[str | MarketdError] = []
        self.asked_at: list[float] = []
        self.secrets: list[bytes] = []

    async def __call__(self, request: HttpRequest, *, timeout_s: float) -> Answer:
        self.asked_at.append(trio.current_time())
        self.secrets.append(request.body.rpartition(b"=")[2])
        await trio.sleep(1)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, MarketdError):
            raise outcome
        return Answer(status=200, headers={}, body=outcome.encode())


@attrs.define(kw_only=True)
class World:
    """A state directory, the tokens in it, and a wall clock that goes with trio's."""

    folder: Path
    endpoint: Endpoint
    rearmed: list[str] = attrs.field(factory=list)
    tokens: Tokens = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = Tokens(state_dir=self.folder, rearm=self.rearmed.append, fetch=self.endpoint)

    @property
    def path(self) -> Path:
        return self.folder / "tokens" / NAME

    def set(self, token: str) -> None:
        make_folder(self.folder)
        write_token(self.path, token)

    def set_refresh(self, token: str = "refresh-1") -> None:
        make_folder(self.folder)
        write_token(refresh_path(self.folder, venue=NAME), token)

    def watch(self, nursery: trio.Nursery, venue: Venue = VENUE) -> None:
        self.tokens.add_venue(NAME, venue=venue, settings=SETTINGS)
        nursery.start_soon(self.tokens.run)

    @property
    def state(self) -> object:
        return self.tokens.status(NAME)["state"]


@pytest.fixture
def world(tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> World:
    """Days pass in moments, so no thread may take its time: files are written in the loop."""

    async def run_here(write: Callable[[Path, str], None], path: Path, token: str) -> None:
        write(path, token)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_here)
    began = autojump_clock.current_time()
    monkeypatch.setattr(
        tokens_module,
        "now_us",
        lambda: BEGIN_US + int((autojump_clock.current_time() - began) * 1_000_000),
    )
    return World(folder=tmp_path / "state", endpoint=Endpoint())


@pytest.fixture
def _looks_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of days: the loop of 2 s would take them minutes."""
    monkeypatch.setattr(tokens_module, "LOOK_EVERY_S", 60.0)


def token_for(hours: float, mark: str = "") -> str:
    return jwt_until(BEGIN_US + int(hours * HOUR_US), mark=mark)


def told(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Return the levels of what was said of tokens, in order."""
    return [entry.levelno for entry in caplog.records if getattr(entry, "actor", "") == "tokens"]


# --- a token to log in with -------------------------------------------------------------------


async def test_the_token_in_the_file_is_given(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(48))
    world.tokens.add_venue(NAME, venue=VENUE, settings=SETTINGS)
    assert world.tokens.token_for(NAME) == token_for(48)
    assert world.tokens.status(NAME) == {
        "state": "good",
        "expires_us": BEGIN_US + 48 * HOUR_US,
        "left_s": 48 * 3600,
        "reason": "",
    }


async def test_a_missing_token_is_no_failure_where_prices_need_none(
    world: World, autojump_clock: MockClock
) -> None:
    optional = attrs.evolve(VENUE, token=TokenUse.OPTIONAL)
    world.tokens.add_venue(NAME, venue=optional, settings=SETTINGS)
    assert world.tokens.token_for(NAME) is None
    assert world.state == "none"


async def test_a_missing_token_says_what_to_do(world: World, autojump_clock: MockClock) -> None:
    world.tokens.add_venue(NAME, venue=VENUE, settings=SETTINGS)
    with pytest.raises(PermanentError, match="marketd token set olymp"):
        world.tokens.token_for(NAME)


async def test_an_expired_token_is_not_tried(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(-1))
    world.tokens.add_venue(NAME, venue=VENUE, settings=SETTINGS)
    with pytest.raises(PermanentError, match="marketd token set olymp"):
        world.tokens.token_for(NAME)
    assert world.state == "expired"


@pytest.mark.parametrize("use", [TokenUse.REQUIRED, TokenUse.OPTIONAL])
async def test_a_file_that_others_can_read_is_refused_with_what_to_do(
    world: World, autojump_clock: MockClock, use: TokenUse
) -> None:
    world.set(token_for(48))
    world.path.chmod(0o644)
    world.tokens.add_venue(NAME, venue=attrs.evolve(VENUE, token=use), settings=SETTINGS)
    with pytest.raises(PermanentError, match="chmod 600"):
        world.tokens.token_for(NAME)
    assert "chmod 600" in str(world.tokens.status(NAME)["reason"])


async def test_a_venue_without_tokens_reads_no_file(world: World, autojump_clock: MockClock) -> None:
    world.set("no token: others can read it")
    world.path.chmod(0o644)
    world.tokens.add_venue(NAME, venue=find_venue("binance"), settings=SETTINGS)
    assert world.tokens.token_for(NAME) is None


# --- a token that changes ---------------------------------------------------------------------


async def test_a_new_token_is_noticed_within_five_seconds(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(48, "old"))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(60)
        assert world.rearmed == []
        world.set(token_for(48, "new"))
        await trio.sleep(5)
        assert world.rearmed == [NAME]
        assert world.tokens.token_for(NAME) == token_for(48, "new")
        await trio.sleep(60)
        assert world.rearmed == [NAME]
        nursery.cancel_scope.cancel()


async def test_a_first_token_is_noticed(world: World, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(60)
        world.set(token_for(48))
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert world.rearmed == [NAME]


async def test_a_file_that_is_made_private_is_taken(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(48))
    world.path.chmod(0o644)
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(5)
        world.path.chmod(0o600)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert world.rearmed == [NAME]


async def test_the_same_token_written_again_disturbs_nobody(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(48))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(5)
        world.set(token_for(48))
        await trio.sleep(5)
        assert world.rearmed == []
        world.tokens.refused(NAME, token=token_for(48))
        assert world.state == "refused"
        world.set(token_for(48))  # its owner wants another try
        await trio.sleep(5)
        assert world.rearmed == [NAME]
        assert world.state == "good"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("spoil", ["unlink", "empty", "chmod"])
async def test_a_token_that_is_gone_leaves_open_connections_alone(
    world: World, autojump_clock: MockClock, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.set(token_for(48))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(5)
        if spoil == "unlink":
            world.path.unlink()
        elif spoil == "empty":
            world.path.write_bytes(b"")
        else:
            world.path.chmod(0o644)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert world.rearmed == []
    assert world.state == "none"
    assert told(caplog) == [logging.WARNING]


async def test_a_new_token_that_has_expired_leaves_open_connections_alone(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.set(token_for(hours=100))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(5)
        world.set(token_for(hours=-1, mark="old"))
        await trio.sleep(5)
        assert (world.rearmed, world.state) == ([], TokenState.EXPIRED.value)
        assert logging.WARNING in told(caplog)
        world.set(token_for(hours=100, mark="new"))
        await trio.sleep(5)
        assert world.rearmed == [NAME]
        nursery.cancel_scope.cancel()


async def test_a_refusal_of_the_token_before_does_not_concern_the_new_one(
    world: World, autojump_clock: MockClock
) -> None:
    world.set(token_for(48, "new"))
    world.tokens.add_venue(NAME, venue=VENUE, settings=SETTINGS)
    world.tokens.refused(NAME, token=token_for(48, "old"))
    world.tokens.refused(NAME, token=None)
    assert world.state == "good"


async def test_a_venue_that_is_removed_is_looked_at_no_more(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(48, "old"))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(5)
        world.tokens.remove_venue(NAME)
        world.set(token_for(48, "new"))
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert world.rearmed == []


# --- a token that expires ---------------------------------------------------------------------


@pytest.mark.usefixtures("_looks_seldom")
async def test_the_time_left_is_said_at_twelve_hours_at_two_and_at_the_end(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.set(token_for(13.9))
    said: list[tuple[float, int]] = []
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        for hour in range(20):
            await trio.sleep(3600)
            said += [(hour + 1, level) for level in told(caplog)[len(said) :]]
        nursery.cancel_scope.cancel()
    assert said == [(2, logging.WARNING), (12, logging.WARNING), (14, logging.ERROR)]
    assert world.state == "expired"


async def test_what_is_near_already_is_said_at_once_and_once(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.set(token_for(1))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(30 * 60)
        nursery.cancel_scope.cancel()
    assert told(caplog) == [logging.WARNING]
    assert world.state == "expires soon"


async def test_no_token_stands_in_the_log(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.set(token_for(1, "a"))
    world.set_refresh("refresh-1")
    fresh = token_for(48, "b")
    world.endpoint.outcomes = [RejectedError("no: refresh-1"), f'{{"access_token":"{fresh}"}}']
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(1800)
        world.set(token_for(48, "c"))
        await trio.sleep(5)
        world.tokens.refused(NAME, token=token_for(48, "c"))
        nursery.cancel_scope.cancel()
    assert told(caplog)
    text = caplog.text + "".join(str(vars(entry)) for entry in caplog.records)
    for secret in (token_for(1, "a"), fresh, token_for(48, "c"), "refresh-1"):
        assert secret not in text


# --- a token that is refreshed ------------------------------------------------------------------


async def test_without_a_refresh_token_nothing_is_asked(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(1))
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(7200)
        nursery.cancel_scope.cancel()
    assert world.endpoint.asked_at == []


@pytest.mark.usefixtures("_looks_seldom")
async def test_a_token_near_its_end_is_replaced_and_connected_with(
    world: World, autojump_clock: MockClock
) -> None:
    world.set(token_for(3))
    world.set_refresh("refresh-1")
    fresh = token_for(51)
    world.endpoint.outcomes = [f'{{"access_token":"{fresh}","refresh_token":"refresh-2"}}']
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        began = trio.current_time()
        await trio.sleep(6 * 3600)
        nursery.cancel_scope.cancel()
    assert [at - began for at in world.endpoint.asked_at] == [pytest.approx(3600, abs=120)]
    assert world.rearmed == [NAME]
    assert world.tokens.token_for(NAME) == fresh
    assert read_token(world.path) == fresh
    assert world.path.stat().st_mode & 0o777 == 0o600
    assert read_token(refresh_path(world.folder, venue=NAME)) == "refresh-2"
    assert world.endpoint.secrets == [b"refresh-1"]


@pytest.mark.usefixtures("_looks_seldom")
async def test_it_is_replaced_again_and_again(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(3))
    world.set_refresh()
    world.endpoint.outcomes = [f'{{"access_token":"{token_for(3 + 24 * day)}"}}' for day in range(1, 8)]
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        for _ in range(5 * 24):
            await trio.sleep(3600)
            assert world.state in ("good", "expires soon")
        nursery.cancel_scope.cancel()
    assert len(world.endpoint.asked_at) == 5


async def test_a_refused_token_is_replaced_at_once(world: World, autojump_clock: MockClock) -> None:
    world.set("an-opaque-token")
    world.set_refresh()
    world.endpoint.outcomes = ['{"access_token":"another"}']
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(60)
        world.tokens.refused(NAME, token="an-opaque-token")
        await trio.sleep(5)
        assert world.rearmed == [NAME]
        assert world.state == "good"
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("_looks_seldom")
async def test_a_failing_endpoint_is_asked_three_times_ten_minutes_apart(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.set(token_for(1))
    world.set_refresh()
    world.endpoint.outcomes = [ConnectionLost("refused")]
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(24 * 3600)
        first, second, third = world.endpoint.asked_at
        assert second - first >= 600
        assert third - second >= 600
        assert told(caplog).count(logging.WARNING) == 4  # its age and three failures
        world.endpoint.outcomes = [f'{{"access_token":"{token_for(72)}"}}']
        world.set_refresh("refresh-2")  # somebody changed a file
        await trio.sleep(120)
        assert world.rearmed == [NAME]
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("_looks_seldom")
async def test_a_refused_refresh_token_is_not_tried_again(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(1))
    world.set_refresh()
    world.endpoint.outcomes = [RejectedError("HTTP 400: invalid_grant")]
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(24 * 3600)
        nursery.cancel_scope.cancel()
    assert len(world.endpoint.asked_at) == 1


@pytest.mark.usefixtures("_looks_seldom")
async def test_fresh_tokens_that_the_venue_refuses_come_to_an_end(
    world: World, autojump_clock: MockClock
) -> None:
    world.set("token-0")
    world.set_refresh()
    world.endpoint.outcomes = [f'{{"access_token":"token-{n}"}}' for n in range(1, 50)]
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        for _ in range(24 * 60):
            await trio.sleep(60)
            world.tokens.refused(NAME, token=world.tokens.token_for(NAME))
        nursery.cancel_scope.cancel()
    assert len(world.endpoint.asked_at) == 3


async def test_a_token_set_while_one_is_asked_for_is_kept(world: World, autojump_clock: MockClock) -> None:
    world.set(token_for(1))
    world.set_refresh()
    world.endpoint.outcomes = [f'{{"access_token":"{token_for(49)}","refresh_token":"refresh-2"}}']
    async with trio.open_nursery() as nursery:
        world.watch(nursery)
        await trio.sleep(0.5)  # the answer takes a second
        world.set(token_for(48, "mine"))
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert read_token(world.path) == token_for(48, "mine")
    assert read_token(refresh_path(world.folder, venue=NAME)) == "refresh-2"


async def test_a_fresh_token_that_cannot_be_written_does_not_end_the_watch(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set(token_for(1))
    world.set_refresh()
    world.endpoint.outcomes = [f'{{"access_token":"{token_for(49)}"}}']

    def full(path: Path, token: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tokens_module, "write_token", full)
        async with trio.open_nursery() as nursery:
            world.watch(nursery)
            await trio.sleep(300)
            nursery.cancel_scope.cancel()
    assert read_token(world.path) == token_for(1)
