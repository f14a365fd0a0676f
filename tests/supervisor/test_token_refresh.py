import pytest

from domain.errors import (
    ConnectionLost,
    MarketdError,
    PermanentError,
    RejectedError,
    RemoteProtocolError,
    VenueThrottled,
)
from domain.token import HOUR_US, TokenState
from supervisor.token_refresh import (
    BETWEEN_TRIES_S,
    MOST_TRIES,
    RefreshPlan,
    ask_fresh_token,
    is_final,
)
from venues import find_venue
from venues.offers import HttpRequest
from venues.olymptrade_token import REFRESH_TOKEN
from venues.settings import VenueSettings
from wire.rest import Answer

SECRET = "a-refresh-token"
SETTINGS = VenueSettings(protocol="olymptrade")


def is_due(
    plan: RefreshPlan, state: TokenState, *, now: float = 0.0, left_h: float | None, life_h: float | None = 48
) -> bool:
    left_us = None if left_h is None else int(left_h * HOUR_US)
    life_us = None if life_h is None else int(life_h * HOUR_US)
    return plan.is_due(state, now=now, left_us=left_us, life_us=life_us)


# --- when -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_h", "life_h", "expected"),
    [
        (2.1, 48, False),
        (1.9, 48, True),
        (-1, 48, True),
        (0.6, 1, False),  # lives for an hour only: at half of it
        (0.4, 1, True),
        (1.9, None, True),
        (2.1, None, False),
        (None, None, False),
    ],
)
def test_a_token_is_replaced_two_hours_before_its_end(
    left_h: float | None, life_h: float | None, *, expected: bool
) -> None:
    assert is_due(RefreshPlan(), TokenState.EXPIRES_SOON, left_h=left_h, life_h=life_h) is expected


def test_a_refused_token_is_replaced_whenever_it_expires() -> None:
    assert is_due(RefreshPlan(), TokenState.REFUSED, left_h=40)
    assert is_due(RefreshPlan(), TokenState.REFUSED, left_h=None, life_h=None)


def test_after_three_tries_ten_minutes_apart_it_is_over() -> None:
    plan, tries = RefreshPlan(), []
    for second in range(0, 24 * 3600, 2):
        if is_due(plan, TokenState.EXPIRES_SOON, now=float(second), left_h=1):
            plan.begin(now=float(second))
            tries.append(second)
    assert tries == [0, BETWEEN_TRIES_S, 2 * BETWEEN_TRIES_S]
    assert len(tries) == MOST_TRIES
    assert plan.is_over


def test_a_token_that_was_replaced_in_time_is_replaced_for_ever() -> None:
    plan = RefreshPlan()
    for day in range(20):
        now = day * 86_400.0
        assert is_due(plan, TokenState.EXPIRES_SOON, now=now, left_h=1)
        plan.begin(now=now)
        plan.succeed(TokenState.EXPIRES_SOON)


def test_fresh_tokens_that_are_refused_again_come_to_an_end() -> None:
    plan, tries = RefreshPlan(), 0
    for second in range(0, 24 * 3600, 60):
        if is_due(plan, TokenState.REFUSED, now=float(second), left_h=48):
            plan.begin(now=float(second))
            plan.succeed(TokenState.REFUSED)
            tries += 1
    assert tries == MOST_TRIES


def test_once_given_up_it_is_not_tried_again() -> None:
    plan = RefreshPlan()
    plan.give_up()
    assert not is_due(plan, TokenState.EXPIRED, now=1e9, left_h=-1)


# --- asking -----------------------------------------------------------------------------------


class Endpoint:
    """Answers every request with the same, or fails."""

    def __init__(self, outcome: bytes | MarketdError) -> None:
        self.outcome = outcome
        self.requests: list[HttpRequest] = []

    async def __call__(self, request: HttpRequest, *, timeout_s: float) -> Answer:
        self.requests.append(request)
        if isinstance(self.outcome, MarketdError):
            raise self.outcome
        return Answer(status=200, headers={}, body=self.outcome)


async def ask(endpoint: Endpoint, settings: VenueSettings = SETTINGS) -> tuple[str, str | None]:
    fresh = await ask_fresh_token(REFRESH_TOKEN, settings=settings, secret=SECRET, fetch=endpoint)
    assert "fresh" not in repr(fresh)
    return fresh.token, fresh.refresh_token


async def test_the_request_is_what_the_venue_expects() -> None:
    endpoint = Endpoint(b'{"access_token":"fresh","token_type":"bearer","expires_in":172800}')
    assert await ask(endpoint) == ("fresh", None)
    (request,) = endpoint.requests
    assert request == HttpRequest(
        "POST",
        "https://oauth.olymptrade.com/oauth2/token",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"grant_type=refresh_token&refresh_token=a-refresh-token",
    )


async def test_a_refresh_token_that_changes_comes_back_too() -> None:
    endpoint = Endpoint(b'{"access_token":"fresh","refresh_token":"fresh-2"}')
    assert await ask(endpoint) == ("fresh", "fresh-2")


async def test_the_settings_address_takes_the_hosts_place() -> None:
    endpoint = Endpoint(b'{"access_token":"fresh"}')
    await ask(endpoint, VenueSettings(protocol="olymptrade", rest_url="http://127.0.0.1:9/"))
    assert endpoint.requests[0].url == "http://127.0.0.1:9/oauth2/token"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"access_token":null}',
        b'{"access_token":5}',
        b'{"error":"invalid_grant"}',
        b"[" * 100_000,
        b"\xff",
        b'{"access_token":""}',
        b'{"access_token":"x\\r\\nSet-Cookie: y"}',
        b'{"access_token":"good","refresh_token":"a b"}',
    ],
)
async def test_an_answer_that_holds_no_token_breaks_the_protocol_and_is_not_shown(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        await ask(Endpoint(body))
    assert "Set-Cookie" not in str(error.value)
    assert error.value.frame == ""


async def test_a_server_that_repeats_the_secret_is_not_quoted() -> None:
    endpoint = Endpoint(RejectedError(f"HTTP 400: no such token: {SECRET}"))
    with pytest.raises(RejectedError) as error:
        await ask(endpoint)
    assert SECRET not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RejectedError("HTTP 400"), True),
        (PermanentError("not installed"), True),
        (ConnectionLost("refused"), False),
        (VenueThrottled("slowly", retry_after_s=1), False),
        (RemoteProtocolError("no HTTP"), False),
    ],
)
def test_only_a_refusal_is_final(error: MarketdError, *, expected: bool) -> None:
    assert is_final(error) is expected


def test_the_venue_that_knows_refresh_tokens_says_so() -> None:
    assert find_venue("olymptrade").refresh_token is REFRESH_TOKEN
    assert find_venue("binance").refresh_token is None
