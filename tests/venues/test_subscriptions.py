import attrs
import pytest

from domain.errors import ConnectionLost, MarketdError, PermanentError
from domain.messages import Resubscribe, Subscribe, Unsubscribe
from venues.protocol import Adapter
from venues.subscriptions import Subscriptions

SESSION = 3


class SaysWhatItIsAsked:
    """An adapter whose frames say what is asked."""

    def opening(self) -> list[str]:
        return []

    def subscribe(self, symbols: list[str]) -> list[str]:
        return ["+" + ",".join(symbols)]

    def unsubscribe(self, symbols: list[str]) -> list[str]:
        return ["-" + ",".join(symbols)]

    def leave(self, symbols: list[str]) -> list[str]:
        return self.unsubscribe(symbols)


@attrs.define
class Noted:
    """An answer that notes what it is told."""

    is_set: bool = False
    error: MarketdError | None = None

    @property
    def is_waiting(self) -> bool:
        return not self.is_set and self.error is None

    def set(self, value: None, /) -> None:
        self.is_set = True

    def fail(self, error: MarketdError, /) -> None:
        self.error = error


@pytest.fixture
def subscriptions() -> Subscriptions:
    adapter: Adapter = SaysWhatItIsAsked()  # type: ignore[assignment]  # nobody receives here
    return Subscriptions(adapter=adapter, venue="sim", session=SESSION)


def subscribe(symbol: str, answer: Noted | None = None, *, session: int = SESSION) -> Subscribe:
    return Subscribe(symbol=symbol, session=session, answer=answer or Noted())


def resubscribe(symbol: str, answer: Noted | None = None) -> Resubscribe:
    return Resubscribe(symbol=symbol, session=SESSION, answer=answer or Noted())


def confirmed(subscriptions: Subscriptions, *symbols: str) -> Subscriptions:
    subscriptions.plan([subscribe(symbol) for symbol in symbols])
    subscriptions.confirm(symbols)
    return subscriptions


def test_those_who_wait_together_share_one_frame(subscriptions: Subscriptions) -> None:
    assert subscriptions.plan([subscribe("A"), subscribe("B")]) == ["+A,B"]


def test_an_answer_waits_for_the_venues_word(subscriptions: Subscriptions) -> None:
    answer = Noted()
    subscriptions.plan([subscribe("A", answer)])
    assert answer.is_waiting
    subscriptions.confirm(["A"])
    assert answer.is_set


def test_a_market_that_comes_back_attaches_without_a_second_subscribe(subscriptions: Subscriptions) -> None:
    answer = Noted()
    assert confirmed(subscriptions, "A").plan([subscribe("A", answer)]) == []
    assert answer.is_set


def test_a_stale_market_is_unsubscribed_and_subscribed_again(subscriptions: Subscriptions) -> None:
    answer = Noted()
    assert confirmed(subscriptions, "A").plan([resubscribe("A", answer)]) == ["-A", "+A"]
    assert answer.is_waiting


def test_a_subscribe_that_the_venue_never_confirmed_is_taken_back_first(subscriptions: Subscriptions) -> None:
    subscriptions.plan([subscribe("A")])
    assert subscriptions.plan([subscribe("A")]) == ["-A", "+A"]


def test_one_that_asked_twice_is_asked_for_once(subscriptions: Subscriptions) -> None:
    first, second = Noted(), Noted()
    assert subscriptions.plan([subscribe("A", first), subscribe("A", second)]) == ["+A"]
    subscriptions.confirm(["A"])
    assert (first.is_set, second.is_set) == (True, True)


def test_a_request_of_an_earlier_session_is_not_sent(subscriptions: Subscriptions) -> None:
    answer = Noted()
    assert subscriptions.plan([subscribe("A", answer, session=SESSION - 1)]) == []
    assert isinstance(answer.error, ConnectionLost)


def test_a_refusal_fails_for_good_those_it_names_only(subscriptions: Subscriptions) -> None:
    refused, other = Noted(), Noted()
    subscriptions.plan([subscribe("A", refused), subscribe("B", other)])
    subscriptions.refuse(["A"], "no such stream")
    assert isinstance(refused.error, PermanentError)
    assert other.is_waiting


def test_a_refusal_names_venue_symbol_and_reason(subscriptions: Subscriptions) -> None:
    refused = Noted()
    subscriptions.plan([subscribe("A", refused)])
    subscriptions.refuse(["A"], "no such stream")
    assert all(word in str(refused.error) for word in ("sim", "'A'", "no such stream"))


def test_a_refused_symbol_is_asked_for_anew(subscriptions: Subscriptions) -> None:
    subscriptions.plan([subscribe("A")])
    subscriptions.refuse(["A"], "no such stream")
    assert subscriptions.plan([subscribe("A")]) == ["+A"]


# --- leaving ----------------------------------------------------------------------------------


def test_a_stopped_market_is_unsubscribed(subscriptions: Subscriptions) -> None:
    assert confirmed(subscriptions, "A").plan([Unsubscribe(symbol="A")]) == ["-A"]


def test_one_that_was_never_subscribed_is_not_unsubscribed(subscriptions: Subscriptions) -> None:
    assert subscriptions.plan([Unsubscribe(symbol="A")]) == []


def test_one_that_left_before_it_was_asked_for_needs_no_frame(subscriptions: Subscriptions) -> None:
    answer = Noted()
    assert subscriptions.plan([subscribe("A", answer), Unsubscribe(symbol="A")]) == []
    assert isinstance(answer.error, ConnectionLost)


def test_one_that_left_before_the_venue_answered_is_unsubscribed(subscriptions: Subscriptions) -> None:
    answer = Noted()
    subscriptions.plan([subscribe("A", answer)])
    assert subscriptions.plan([Unsubscribe(symbol="A")]) == ["-A"]
    assert isinstance(answer.error, ConnectionLost)


def test_one_that_left_and_came_back_at_once_is_subscribed_anew(subscriptions: Subscriptions) -> None:
    assert confirmed(subscriptions, "A").plan([Unsubscribe(symbol="A"), subscribe("A")]) == ["-A", "+A"]


def test_a_confirmation_after_leaving_does_not_count_for_the_next_subscribe(
    subscriptions: Subscriptions,
) -> None:
    subscriptions.plan([subscribe("A")])
    subscriptions.plan([Unsubscribe(symbol="A")])
    subscriptions.confirm(["A"])  # to the SUBSCRIBE that the UNSUBSCRIBE overtook
    answer = Noted()
    assert subscriptions.plan([subscribe("A", answer)]) == ["+A"]
    assert answer.is_waiting


def test_a_goodbye_leaves_all_confirmed_or_not(subscriptions: Subscriptions) -> None:
    confirmed(subscriptions, "B").plan([subscribe("A")])
    assert subscriptions.leave_all() == ["-A,B"]


def test_a_goodbye_of_nobody_needs_no_frame(subscriptions: Subscriptions) -> None:
    confirmed(subscriptions, "A").plan([Unsubscribe(symbol="A")])
    assert subscriptions.leave_all() == []


def test_losing_the_session_fails_all_who_wait(subscriptions: Subscriptions) -> None:
    answers = [Noted(), Noted()]
    subscriptions.plan([subscribe("A", answers[0]), subscribe("B", answers[1])])
    subscriptions.lose()
    assert all(isinstance(answer.error, ConnectionLost) for answer in answers)
    assert subscriptions.leave_all() == []
