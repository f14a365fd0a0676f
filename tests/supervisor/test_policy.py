import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_hours import always_open

from domain.errors import (
    MAX_RETRY_AFTER_S,
    ConnectionLost,
    InvariantError,
    LocalProtocolError,
    PermanentError,
    RejectedError,
    RemoteProtocolError,
    UpgradeRefused,
    UpgradeThrottled,
    VenueSilent,
    VenueThrottled,
    flatten,
)
from domain.states import ConnectionRow, Desired, MarketRow, State
from supervisor.policy import (
    Blame,
    Decision,
    RestartPolicy,
    SupervisionSettings,
    blame,
    connection_state,
    market_state,
    worst,
)
from wire.backoff import bound_s

SETTINGS = SupervisionSettings()
HEALTHY_S = SETTINGS.healthy_after_s
BUG = ZeroDivisionError("our bug")
LOST = ConnectionLost("gone")


# --- which state is shown: of those that hold, the first ----------------------------------------

NOW = 1_000.0

# What makes each state hold, in the order of DESIGN §3. Each is put on a live market.
MARKET_STATES: list[tuple[State, dict[str, object]]] = [
    (State.STOPPED, {"desired": Desired.STOPPED}),
    (State.FAILED, {"hold": State.FAILED}),
    (State.QUARANTINED, {"hold": State.QUARANTINED}),
    (State.BACKING_OFF, {"hold": State.BACKING_OFF}),
    (State.WAITING, {"is_in_line": True}),
    (State.STALE, {"last_tick_at": NOW - 60.0, "subscribed_at": NOW - 60.0}),
    (State.STARTING, {"last_tick_at": None}),
    (State.LIVE, {}),
]
PAIRS = [
    (higher, lower)
    for place, higher in enumerate(MARKET_STATES)
    for lower in MARKET_STATES[place + 1 :]
    if not ("hold" in higher[1] and "hold" in lower[1])  # a row has one hold at a time
]


def live_market(**changed: object) -> MarketRow:
    """Return a market that is live at NOW, but for what is said."""
    connection = ConnectionRow(name="sim/1", venue="sim", is_open=True)
    row = MarketRow(
        name="EURUSD@sim",
        symbol="EURUSD",
        venue="sim",
        stale_after_s=60.0,
        connection=connection,
        hours=always_open(),
        subscribed_at=NOW - 10.0,
        last_tick_at=NOW - 1.0,
    )
    for name, value in changed.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize(("state", "cause"), MARKET_STATES, ids=str)
def test_each_state_of_a_market_has_its_cause(state: State, cause: dict[str, object]) -> None:
    assert market_state(live_market(**cause), NOW) is state


@pytest.mark.parametrize(("higher", "lower"), PAIRS, ids=lambda pair: str(pair[0]))
def test_of_two_states_that_hold_the_first_is_shown(
    higher: tuple[State, dict[str, object]], lower: tuple[State, dict[str, object]]
) -> None:
    row = live_market(**{**lower[1], **higher[1]})
    assert market_state(row, NOW) is higher[0]


def test_a_market_on_a_connection_that_is_not_open_waits() -> None:
    row = live_market()
    row.connection.is_open = False
    assert market_state(row, NOW) is State.WAITING


def test_a_market_that_is_not_subscribed_waits() -> None:
    assert market_state(live_market(subscribed_at=None), NOW) is State.WAITING


def test_a_market_on_a_failed_connection_has_failed() -> None:
    row = live_market()
    row.connection.hold = State.FAILED
    row.connection.is_open = False
    assert market_state(row, NOW) is State.FAILED


def test_a_market_on_a_quarantined_connection_waits() -> None:
    row = live_market()
    row.connection.hold = State.QUARANTINED
    row.connection.is_open = False
    assert market_state(row, NOW) is State.WAITING


def test_a_market_whose_last_datum_is_from_before_subscribing_is_starting() -> None:
    row = live_market(subscribed_at=NOW - 1.0, last_tick_at=NOW - 2.0)
    assert market_state(row, NOW) is State.STARTING


def test_a_market_with_a_datum_of_the_very_moment_of_subscribing_is_live() -> None:
    row = live_market(subscribed_at=NOW - 1.0, last_tick_at=NOW - 1.0)
    assert market_state(row, NOW) is State.LIVE


def test_a_market_that_never_had_a_datum_is_stale_once_its_time_is_over() -> None:
    row = live_market(subscribed_at=NOW - 60.0, last_tick_at=None)
    assert market_state(row, NOW) is State.STALE


def test_a_market_is_not_stale_before_its_time_is_over() -> None:
    row = live_market(subscribed_at=NOW - 500.0, last_tick_at=NOW - 59.9)
    assert market_state(row, NOW) is State.LIVE


@given(
    fields=st.fixed_dictionaries(
        {
            "desired": st.sampled_from(Desired),
            "hold": st.sampled_from([None, State.FAILED, State.QUARANTINED, State.BACKING_OFF]),
            "is_in_line": st.booleans(),
            "subscribed_at": st.none() | st.floats(0, NOW),
            "last_tick_at": st.none() | st.floats(0, NOW),
        }
    ),
    is_open=st.booleans(),
)
def test_live_means_wanted_open_subscribed_and_with_a_fresh_datum(
    fields: dict[str, object], *, is_open: bool
) -> None:
    row = live_market(**fields)
    row.connection.is_open = is_open
    is_live = (
        row.desired is Desired.RUNNING
        and row.hold is None
        and is_open
        and not row.is_in_line
        and row.subscribed_at is not None
        and row.last_tick_at is not None
        and row.last_tick_at >= row.subscribed_at
        and row.last_tick_at + row.stale_after_s > NOW
    )
    assert (market_state(row, NOW) is State.LIVE) == is_live


CONNECTION_STATES: list[tuple[State, dict[str, object]]] = [
    (State.STOPPED, {"desired": Desired.STOPPED, "hold": State.FAILED, "is_open": True}),
    (State.FAILED, {"hold": State.FAILED, "is_open": True}),
    (State.QUARANTINED, {"hold": State.QUARANTINED, "is_in_line": True}),
    (State.BACKING_OFF, {"hold": State.BACKING_OFF, "is_in_line": True}),
    (State.WAITING, {"is_in_line": True}),
    (State.STARTING, {}),
    (State.LIVE, {"is_open": True}),
]


@pytest.mark.parametrize(("state", "cause"), CONNECTION_STATES, ids=str)
def test_each_state_of_a_connection_has_its_cause(state: State, cause: dict[str, object]) -> None:
    row = ConnectionRow(name="sim/1", venue="sim")
    for name, value in cause.items():
        setattr(row, name, value)
    assert connection_state(row) is state


# --- whose fault was it? ------------------------------------------------------------------------

CLASSES = [
    (LOST, Blame.OUTSIDE),
    (VenueSilent("silent"), Blame.OUTSIDE),
    (VenueThrottled("busy", retry_after_s=1.0), Blame.OUTSIDE),
    (UpgradeRefused("no", status=500), Blame.OUTSIDE),
    (UpgradeThrottled("busy", retry_after_s=1.0, status=429), Blame.OUTSIDE),
    (RemoteProtocolError("garbage"), Blame.OUTSIDE),
    (PermanentError("unknown symbol"), Blame.PERMANENT),
    (LocalProtocolError("we sent it"), Blame.OURS),
    (InvariantError("never"), Blame.OURS),
    (RejectedError("not caught where it belongs"), Blame.OURS),
    (KeyError("anything"), Blame.OURS),
    (OSError("not translated"), Blame.OURS),
]
errors = st.sampled_from([error for error, _ in CLASSES])
groups = st.recursive(
    errors,
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda some: ExceptionGroup("group", some)),
    max_leaves=8,
)


@pytest.mark.parametrize(("error", "whose"), CLASSES, ids=lambda value: type(value).__name__)
def test_each_class_of_errors_has_its_blame(error: Exception, whose: Blame) -> None:
    assert blame(error) is whose


@given(groups)
def test_the_worst_of_a_group_decides_however_deep_it_lies(group: Exception) -> None:
    leaves = flatten(group)
    assert worst(group) in leaves
    assert blame(worst(group)) is max(blame(leaf) for leaf in leaves)


def test_of_equals_the_first_decides() -> None:
    first, second = ValueError("first"), ValueError("second")
    assert worst(ExceptionGroup("both", [LOST, first, second])) is first


def test_a_venue_that_asks_for_patience_decides_over_a_connection_that_is_lost() -> None:
    throttled = VenueThrottled("busy", retry_after_s=300.0)
    assert worst(ExceptionGroup("both", [LOST, throttled])) is throttled


# --- the outside fails: back off -----------------------------------------------------------------


def fail(
    policy: RestartPolicy, error: Exception = LOST, *, now: float = 0.0, data_s: float = 0.0
) -> Decision:
    return policy.decide(error, now=now, data_s=data_s, ran_s=data_s)


def crash(policy: RestartPolicy, *, now: float, ran_s: float = 0.0) -> Decision:
    return policy.decide(BUG, now=now, data_s=0.0, ran_s=ran_s)


@given(st.integers(0, 200))
def test_the_delay_lies_between_the_least_and_the_exponential_bound(failures: int) -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for _ in range(failures):
        fail(policy)
    decision = fail(policy)
    assert decision.hold is State.BACKING_OFF
    assert decision.delay_s is not None
    bound = bound_s(attempt=failures, min_s=SETTINGS.backoff_min_s, max_s=SETTINGS.backoff_max_s)
    assert SETTINGS.backoff_min_s <= decision.delay_s <= bound <= SETTINGS.backoff_max_s


def test_enough_data_resets_the_backoff() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for _ in range(50):
        fail(policy)
    assert fail(policy, data_s=HEALTHY_S).delay_s == SETTINGS.backoff_min_s


def test_less_data_does_not_reset_the_backoff() -> None:
    settings = attrs.evolve(SETTINGS, backoff_max_s=1e12)
    policy = RestartPolicy(settings=settings)
    for _ in range(50):
        fail(policy, data_s=HEALTHY_S - 0.1)
    # by then the bound is 1e12 s: a delay that short comes once in a billion runs
    assert (fail(policy, data_s=HEALTHY_S - 0.1).delay_s or 0.0) > 1_000.0


def test_a_long_run_without_data_does_not_reset_the_backoff() -> None:
    policy = RestartPolicy(settings=attrs.evolve(SETTINGS, backoff_max_s=1e12))
    for _ in range(50):
        policy.decide(LOST, now=0.0, data_s=0.0, ran_s=1e6)
    assert (fail(policy).delay_s or 0.0) > 1_000.0


def test_failures_of_the_outside_never_quarantine() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    assert {fail(policy).hold for _ in range(1_000)} == {State.BACKING_OFF}


def test_a_throttling_venue_is_left_alone_for_as_long_as_it_asks() -> None:
    decision = fail(RestartPolicy(settings=SETTINGS), VenueThrottled("busy", retry_after_s=600.0))
    assert decision == Decision(hold=State.BACKING_OFF, delay_s=600.0)


def test_a_throttling_venue_that_asks_for_less_than_our_backoff_gets_our_backoff() -> None:
    settings = attrs.evolve(SETTINGS, backoff_min_s=5.0)
    decision = fail(RestartPolicy(settings=settings), VenueThrottled("busy", retry_after_s=0.5))
    assert decision.delay_s == 5.0


def test_nobody_can_ask_for_more_patience_than_the_longest_ban() -> None:
    decision = fail(RestartPolicy(settings=SETTINGS), VenueThrottled("busy", retry_after_s=1e12))
    assert decision.delay_s == MAX_RETRY_AFTER_S


def test_what_is_permanent_is_not_tried_again() -> None:
    decision = fail(RestartPolicy(settings=SETTINGS), PermanentError("unknown symbol"))
    assert decision == Decision(hold=State.FAILED, delay_s=None)


# --- we fail: restart, then quarantine -------------------------------------------------------------

AGAIN = Decision(hold=None, delay_s=0.0)
QUARANTINE = Decision(hold=State.QUARANTINED, delay_s=SETTINGS.probe_every_s)


def test_five_crashes_within_five_minutes_are_restarted_at_once() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    assert [crash(policy, now=float(n)) for n in range(5)] == [AGAIN] * 5


def test_the_sixth_crash_within_five_minutes_quarantines() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for n in range(5):
        crash(policy, now=float(n))
    assert crash(policy, now=299.9) == QUARANTINE


def test_a_crash_of_five_minutes_ago_no_longer_counts() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for n in range(5):
        crash(policy, now=float(n))
    assert crash(policy, now=300.0) == AGAIN


@given(st.lists(st.floats(0, 2_000), min_size=1, max_size=40).map(sorted))
def test_the_first_quarantine_comes_with_more_than_five_crashes_in_the_window(times: list[float]) -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for place, now in enumerate(times):
        in_window = sum(now - SETTINGS.within_s < earlier for earlier in times[: place + 1])
        decision = crash(policy, now=now)
        assert (decision == QUARANTINE) == (in_window > SETTINGS.max_restarts)
        if decision == QUARANTINE:
            break


def quarantined() -> RestartPolicy:
    """Return a policy whose child was quarantined at time 5."""
    policy = RestartPolicy(settings=SETTINGS)
    for n in range(6):
        crash(policy, now=float(n))
    return policy


def test_a_probe_that_fails_quarantines_at_once_again_however_late() -> None:
    assert crash(quarantined(), now=100_000.0, ran_s=HEALTHY_S - 0.1) == QUARANTINE


def test_a_probe_that_fails_by_the_outside_is_still_a_probe() -> None:
    policy = quarantined()
    assert fail(policy, now=65.0).hold is State.BACKING_OFF
    assert crash(policy, now=1_000.0) == QUARANTINE


def test_a_probe_that_lives_long_enough_brings_the_child_back() -> None:
    assert crash(quarantined(), now=1_000.0, ran_s=HEALTHY_S) == AGAIN


def test_a_probe_that_lives_does_not_forgive_crashes_within_the_window() -> None:
    assert crash(quarantined(), now=5.0 + HEALTHY_S, ran_s=HEALTHY_S) == QUARANTINE


def test_forgiving_begins_anew() -> None:
    policy = quarantined()
    policy.forgive()
    assert crash(policy, now=6.0) == AGAIN


def test_no_restart_allowed_quarantines_the_first_crash() -> None:
    policy = RestartPolicy(settings=attrs.evolve(SETTINGS, max_restarts=0))
    assert crash(policy, now=0.0) == QUARANTINE


def test_crashes_do_not_lengthen_the_backoff() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for n in range(5):
        crash(policy, now=float(n))
    assert fail(policy).delay_s == SETTINGS.backoff_min_s


def test_a_policy_remembers_no_more_crashes_than_it_needs() -> None:
    policy = RestartPolicy(settings=SETTINGS)
    for n in range(10_000):
        crash(policy, now=n / 100.0)
    assert len(policy._crashes) <= SETTINGS.max_restarts + 1
