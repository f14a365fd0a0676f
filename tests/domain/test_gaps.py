from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.gaps import (
    AT_REST,
    FOLD_US,
    MOST_CHANGED,
    Cause,
    Gap,
    GapFill,
    GapLedger,
    GapRanges,
    GapTracker,
    Remembered,
)
from domain.market import Tick

MARKET = "EURUSD@sim"


def tick_at(ts_us: int, *, market: str = MARKET) -> Tick:
    return Tick(market, ts_us, 0, 1.0, None, None, None, ts_us)


def before(ts_us: int, *gaps: Gap) -> Remembered:
    return Remembered(last=tick_at(ts_us), open_gaps=gaps)


def gap(from_us: int, to_us: int | None, cause: str) -> Gap:
    return Gap(MARKET, from_us, to_us, cause)


@attrs.define
class Kept:
    """A tracker and the table that its ledger makes."""

    table: dict[tuple[int, str], Gap] = attrs.field(factory=dict)
    tracker: GapTracker = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tracker = GapTracker(market=MARKET, ledger=GapLedger())

    def rows(self) -> list[tuple[int, int | None, str]]:
        """Return the table, accepted up to now, without rows of no length."""
        for row in self.tracker.ledger.take():
            self.table[row.from_us, row.cause] = row
        return [row[1:4] for row in sorted(self.table.values()) if row.from_us != row.to_us]


@pytest.fixture
def kept() -> Kept:
    return Kept()


def run_ticks(kept: Kept, *times: int) -> None:
    for ts_us in times:
        kept.tracker.tick(ts_us)


# --- one run ----------------------------------------------------------------------------------


def test_a_gap_reaches_from_the_last_tick_before_to_the_first_after(kept: Kept) -> None:
    run_ticks(kept, 10, 20)
    kept.tracker.trouble(Cause.DISCONNECT)
    assert kept.rows() == [(20, None, "disconnect")]
    run_ticks(kept, 35, 40)
    assert kept.rows() == [(20, 35, "disconnect")]
    assert kept.tracker.count == 1


@pytest.mark.parametrize("cause", [Cause.STALE, Cause.DISCONNECT])
def test_a_market_that_is_refused_meanwhile_is_missed_for_that_from_then_on(kept: Kept, cause: Cause) -> None:
    run_ticks(kept, 10)
    kept.tracker.trouble(cause)
    kept.tracker.refuse(at_us=30)
    kept.tracker.refuse(at_us=35)
    kept.tracker.trouble(Cause.DISCONNECT)
    assert kept.rows() == [(10, 30, cause), (30, None, "refused")]
    run_ticks(kept, 50)
    assert kept.rows() == [(10, 30, cause), (30, 50, "refused")]


def test_a_closed_market_that_is_refused_is_closed_no_longer(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.CLOSED, at_us=20)
    kept.tracker.refuse(at_us=30)
    kept.tracker.resume(Cause.CLOSED, at_us=40)
    assert kept.rows() == [(10, 30, "closed"), (30, None, "refused")]


def test_a_market_that_is_refused_in_the_middle_of_its_ticks_is_missed_since_the_last(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.refuse(at_us=30)
    assert kept.rows() == [(10, None, "refused")]


def test_trouble_before_the_first_tick_ever_is_no_gap(kept: Kept) -> None:
    kept.tracker.trouble(Cause.STALE)
    kept.tracker.rest(Cause.STOPPED, at_us=5)
    run_ticks(kept, 10)
    assert (kept.rows(), kept.tracker.count) == ([], 0)


def test_of_troubles_that_overlap_the_first_cause_stays(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.trouble(Cause.STALE)
    kept.tracker.trouble(Cause.DISCONNECT)
    run_ticks(kept, 30)
    assert (kept.rows(), kept.tracker.count) == ([(10, 30, "stale")], 1)


def test_trouble_from_when_a_stopped_market_is_started_is_a_row_of_its_own(kept: Kept) -> None:
    """It holds that very moment too: a tick may have been sent in it."""
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.STOPPED, at_us=15)
    kept.tracker.resume(Cause.STOPPED, at_us=50)
    kept.tracker.trouble(Cause.DISCONNECT)
    run_ticks(kept, 60)
    assert kept.rows() == [(10, 50, "stopped"), (49, 60, "disconnect")]


def test_a_closed_market_that_is_stopped_is_stopped_until_it_is_started(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.CLOSED, at_us=12)
    kept.tracker.rest(Cause.STOPPED, at_us=30)
    kept.tracker.resume(Cause.CLOSED, at_us=40)
    kept.tracker.trouble(Cause.DISCONNECT)
    kept.tracker.resume(Cause.STOPPED, at_us=60)
    kept.tracker.trouble(Cause.DISCONNECT)
    run_ticks(kept, 70)
    assert kept.rows() == [(10, 30, "closed"), (30, 60, "stopped"), (59, 70, "disconnect")]


def test_a_stopped_market_that_closes_and_opens_stays_stopped(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.STOPPED, at_us=12)
    kept.tracker.rest(Cause.CLOSED, at_us=20)
    kept.tracker.resume(Cause.CLOSED, at_us=30)
    assert kept.rows() == [(10, None, "stopped")]


@pytest.mark.parametrize("cause", sorted(AT_REST))
def test_a_rest_does_not_count(kept: Kept, cause: Cause) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(cause, at_us=15)
    kept.tracker.trouble(Cause.STALE)  # of a market at rest there is none
    kept.tracker.resume(cause, at_us=50)
    assert (kept.tracker.count, kept.rows()) == (0, [(10, 50, cause)])


def test_a_stop_during_trouble_ends_it(kept: Kept) -> None:
    """With that very moment: a tick may have been sent in it."""
    run_ticks(kept, 10)
    kept.tracker.trouble(Cause.DISCONNECT)
    kept.tracker.rest(Cause.STOPPED, at_us=30)
    assert kept.rows() == [(10, 31, "disconnect"), (30, None, "stopped")]


def test_a_tick_that_was_under_way_when_the_market_was_stopped_lies_in_no_row(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.STOPPED, at_us=12)
    run_ticks(kept, 14)
    assert kept.rows() == [(10, 14, "stopped"), (14, None, "stopped")]


def test_no_row_reaches_over_a_tick_of_a_venue_whose_clock_is_behind_ours(
    kept: Kept,
) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.STOPPED, at_us=12)
    kept.tracker.resume(Cause.STOPPED, at_us=50)
    run_ticks(kept, 45, 55)
    assert kept.rows() == [(10, 45, "stopped")]


def test_a_step_back_of_the_clock_is_a_row_of_the_time_that_is_told_twice(kept: Kept) -> None:
    run_ticks(kept, 10_000)
    kept.tracker.clock_stepped_back(ts_us=4_000)
    run_ticks(kept, 4_000)
    assert (kept.rows(), kept.tracker.count) == ([(4_000, 10_000, "clock")], 1)
    kept.tracker.trouble(Cause.STALE)
    run_ticks(kept, 5_000)
    assert (4_000, 5_000, "stale") in kept.rows()


def test_trouble_after_a_step_back_does_not_begin_at_an_older_start_of_the_market(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.rest(Cause.STOPPED, at_us=20)
    kept.tracker.resume(Cause.STOPPED, at_us=9_000)
    run_ticks(kept, 9_500)
    kept.tracker.clock_stepped_back(ts_us=4_000)
    run_ticks(kept, 4_000)
    kept.tracker.trouble(Cause.STALE)
    run_ticks(kept, 5_000)
    assert (4_000, 5_000, "stale") in kept.rows()


def test_while_everybody_is_stopped_no_gap_begins(kept: Kept) -> None:
    run_ticks(kept, 10)
    kept.tracker.ledger.end()
    kept.tracker.trouble(Cause.DISCONNECT)
    assert kept.rows() == []


# --- the run before ---------------------------------------------------------------------------


def test_downtime_is_a_gap_that_counts(kept: Kept) -> None:
    kept.tracker.remember(before(10), is_at_rest=False, at_us=100)
    run_ticks(kept, 120)
    assert (kept.rows(), kept.tracker.count) == ([(10, 120, "downtime")], 1)


def test_a_row_left_open_goes_on_and_keeps_its_cause(kept: Kept) -> None:
    kept.tracker.remember(before(10, gap(10, None, "stale")), is_at_rest=False, at_us=100)
    run_ticks(kept, 120)
    assert (kept.rows(), kept.tracker.count) == ([(10, 120, "stale")], 1)


def test_a_market_that_was_stopped_stays_at_rest(kept: Kept) -> None:
    kept.tracker.remember(before(10, gap(15, None, "stopped")), is_at_rest=True, at_us=100)
    kept.tracker.resume(Cause.STOPPED, at_us=200)
    assert (kept.rows(), kept.tracker.count) == ([(15, 200, "stopped")], 0)


def test_a_market_that_was_closed_and_is_stopped_by_now_is_stopped_from_now_on(kept: Kept) -> None:
    kept.tracker.remember(before(10, gap(15, None, "closed")), is_at_rest=True, at_us=100)
    kept.tracker.resume(Cause.STOPPED, at_us=200)
    assert kept.rows() == [(15, 100, "closed"), (100, 200, "stopped")]


def test_a_market_that_is_no_longer_stopped_is_in_trouble_from_now_on(kept: Kept) -> None:
    kept.tracker.remember(before(10, gap(15, None, "stopped")), is_at_rest=False, at_us=100)
    run_ticks(kept, 130)
    assert kept.rows() == [(15, 100, "stopped"), (100, 130, "downtime")]


def test_what_becomes_known_after_the_first_tick_is_downtime_up_to_it(kept: Kept) -> None:
    run_ticks(kept, 120, 130)
    kept.tracker.remember(before(10), is_at_rest=False, at_us=140)
    assert (kept.rows(), kept.tracker.count) == ([(10, 120, "downtime")], 1)


def test_a_row_left_open_that_becomes_known_late_ends_with_the_first_tick(kept: Kept) -> None:
    run_ticks(kept, 120, 130)
    kept.tracker.remember(before(10, gap(10, None, "disconnect")), is_at_rest=False, at_us=140)
    assert kept.rows() == [(10, 120, "disconnect")]


@pytest.mark.parametrize("times", [(), (120,)], ids=["before the first tick", "after it"])
def test_a_pause_that_the_journal_told_of_gets_no_second_row_from_the_database(
    kept: Kept, times: Sequence[int]
) -> None:
    kept.tracker.remember(before(10), is_at_rest=False, at_us=100)
    run_ticks(kept, *times)
    kept.tracker.remember(before(10, gap(10, None, "disconnect")), is_at_rest=False, at_us=140)
    run_ticks(kept, 150)
    assert kept.rows() == [(10, *(times or (150,)), "downtime")]


def test_a_row_of_this_run_that_the_database_shows_as_open_is_not_the_last_runs(kept: Kept) -> None:
    run_ticks(kept, 120)
    kept.tracker.trouble(Cause.STALE)
    run_ticks(kept, 130)
    kept.tracker.remember(before(10, gap(120, None, "stale")), is_at_rest=False, at_us=140)
    assert kept.rows() == [(10, 120, "downtime"), (120, 130, "stale")]


def test_a_row_whose_end_was_lost_does_not_reach_over_later_ticks(kept: Kept) -> None:
    run_ticks(kept, 120)
    kept.tracker.remember(before(50, gap(10, None, "stale")), is_at_rest=False, at_us=140)
    assert kept.rows() == [(10, 50, "stale"), (50, 120, "downtime")]


# --- whatever happens -------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["tick", "tick", "tick", "trouble", "stop", "start", "close", "open", "clean", "kill", "database"]
        ),
        st.integers(min_value=1, max_value=40),
    ),
    max_size=60,
)
KNOWN = st.lists(st.sampled_from(["all", "journal", "nothing"]), min_size=60, max_size=60)


@attrs.define
class World:
    """A market over several runs, on one clock; what a run accepted is never lost."""

    known: list[str]  # of what was before, at the start of each run
    now_us: int = 1_000
    table: dict[tuple[int, str], Gap] = attrs.field(factory=dict)
    shown: dict[tuple[int, str], Gap] = attrs.field(factory=dict)  # one step behind: it stores later
    ticks: list[list[int]] = attrs.field(factory=lambda: [[]])  # of each run
    tracker: GapTracker = attrs.field(init=False)
    is_stopped: bool = False
    is_closed: bool = False
    is_database_asked: bool = True

    def __attrs_post_init__(self) -> None:
        self.tracker = GapTracker(market=MARKET, ledger=GapLedger())

    def step(self, what: str, *, pass_us: int) -> None:
        self.now_us += pass_us
        self.shown = dict(self.table)
        getattr(self, what)()
        for row in self.tracker.ledger.take():
            self.table[row.from_us, row.cause] = row

    def tick(self) -> None:
        if not self.is_stopped and not self.is_closed:
            self.tracker.tick(self.now_us)
            self.ticks[-1].append(self.now_us)

    def trouble(self) -> None:
        self.tracker.trouble(Cause.DISCONNECT)

    def stop(self) -> None:
        self.tracker.rest(Cause.STOPPED, at_us=self.now_us)
        self.is_stopped = True

    def start(self) -> None:
        self.tracker.resume(Cause.STOPPED, at_us=self.now_us)
        self.tracker.trouble(Cause.DISCONNECT)  # no socket yet
        self.is_stopped = False

    def close(self) -> None:
        self.tracker.rest(Cause.CLOSED, at_us=self.now_us)
        self.is_closed = True

    def open(self) -> None:
        self.tracker.resume(Cause.CLOSED, at_us=self.now_us)
        self.is_closed = False

    def clean(self) -> None:
        self.tracker.ledger.end()
        self.trouble()  # sockets are closed
        self.kill()

    def kill(self) -> None:
        self.database()  # it answered at some time of the run
        for row in self.tracker.ledger.take():
            self.table[row.from_us, row.cause] = row
        self.shown = dict(self.table)  # by the next start
        self.tracker = GapTracker(market=MARKET, ledger=GapLedger())
        self.ticks.append([])
        known = self.known.pop()
        self.is_database_asked = known == "all"
        if known == "all":
            self.remember(self.open_rows())
        if known == "journal":
            self.remember([])

    def database(self) -> None:
        if not self.is_database_asked:
            self.is_database_asked = True
            self.remember(self.open_rows())

    def open_rows(self) -> list[Gap]:
        return [row for row in self.shown.values() if row.to_us is None]

    def remember(self, rows: list[Gap]) -> None:
        last = [ts_us for run in self.ticks[:-1] for ts_us in run]
        if last:
            is_at_rest = self.is_stopped
            self.tracker.remember(before(last[-1], *rows), is_at_rest=is_at_rest, at_us=self.now_us)


def spans(world: World) -> list[tuple[float, float, Any]]:
    rows: list[tuple[float, float, Any]] = [
        (row.from_us, float("inf") if row.to_us is None else row.to_us, row.cause)
        for row in world.table.values()
    ]
    return sorted(row for row in rows if row[0] < row[1])


@given(steps=STEPS, known=KNOWN)
def test_whatever_happens_the_rows_tell_each_time_without_ticks_once(
    steps: list[tuple[str, int]], known: list[str]
) -> None:
    world = World(known)
    for what, pass_us in steps:
        world.step(what, pass_us=pass_us)
    world.step("database", pass_us=1)
    rows = spans(world)
    trouble = [row for row in rows if row[2] not in AT_REST]
    ends = {run[-1] for run in world.ticks if run}
    twice = [pair for pair in pairwise(trouble) if pair[0][1] > pair[1][0]]
    assert [pair for pair in twice if not is_told_anew(*pair, ends)] == []
    recorded = [ts_us for run in world.ticks for ts_us in run]
    assert [(ts_us, row) for ts_us in recorded for row in rows if row[0] < ts_us < row[1]] == []
    assert len([row for row in world.table.values() if row.to_us is None]) <= 1
    with_ticks = [run for run in world.ticks if run]
    for earlier, later in pairwise(with_ticks):
        assert uncovered(earlier[-1], later[0], rows) == 0


def is_told_anew(earlier: tuple[float, float, Any], later: tuple[float, float, Any], ends: set[int]) -> bool:
    """Whether a restart, which may know of the last tick only, told again what rests had cut into pieces."""
    return any(row[2] == Cause.DOWNTIME and row[0] in ends for row in (earlier, later))


def uncovered(since_us: int, until_us: int, rows: list[tuple[float, float, Any]]) -> float:
    """Return how much of a pause lies in no row."""
    reached: float = since_us
    missing = 0.0
    for from_us, to_us, _ in rows:
        if to_us > reached and from_us < until_us:
            missing += max(0.0, from_us - reached)
            reached = to_us
    return missing + max(0.0, until_us - reached)


# --- the ledger -------------------------------------------------------------------------------


def test_the_latest_word_on_a_row_counts() -> None:
    ledger = GapLedger()
    ledger.put(gap(1, None, "stale"))
    ledger.put(gap(1, 5, "stale"))
    assert (ledger.take(), ledger.take()) == ([gap(1, 5, "stale")], [])


def test_a_row_that_could_not_be_accepted_comes_again_unless_it_has_changed() -> None:
    ledger = GapLedger()
    ledger.put(gap(1, 5, "stale"))
    ledger.put_back(gap(1, None, "stale"))
    ledger.put_back(gap(2, None, "stale"))
    assert ledger.take() == [gap(1, 5, "stale"), gap(2, None, "stale")]


def test_a_ledger_that_nobody_accepts_stays_bounded_and_says_rather_too_much() -> None:
    ledger = GapLedger()
    for n in range(MOST_CHANGED + 100):
        ledger.put(gap(10 * n, 10 * n + 5, "stale"))
    rows = ledger.take()
    assert len(rows) == MOST_CHANGED
    assert (rows[-1].from_us, rows[-1].to_us) == (10 * (MOST_CHANGED - 1), 10 * (MOST_CHANGED + 99) + 5)


# --- ticks given up ---------------------------------------------------------------------------


def test_ticks_given_up_lie_inside_one_growing_row_a_market() -> None:
    ranges = GapRanges(Cause.OVERFLOW)
    assert ranges.add([tick_at(10), tick_at(20)]) == [gap(9, 21, "overflow")]
    assert ranges.add([tick_at(20 + FOLD_US)]) == [gap(9, 21 + FOLD_US, "overflow")]
    assert ranges.add([tick_at(15)]) == [gap(9, 21 + FOLD_US, "overflow")]


def test_ticks_given_up_much_later_are_another_row() -> None:
    ranges = GapRanges(Cause.OVERFLOW)
    ranges.add([tick_at(10)])
    assert ranges.add([tick_at(12 + FOLD_US)]) == [gap(11 + FOLD_US, 13 + FOLD_US, "overflow")]


def test_each_market_that_lost_ticks_has_a_row_of_its_own() -> None:
    rows = GapRanges(Cause.OVERFLOW).add([tick_at(10, market="A@sim"), tick_at(30, market="B@sim")])
    assert rows == [Gap("A@sim", 9, 11, "overflow"), Gap("B@sim", 29, 31, "overflow")]


STEPS_FORWARD = st.lists(st.integers(min_value=0, max_value=2 * FOLD_US), min_size=1)


@given(lots=st.lists(STEPS_FORWARD))
def test_every_tick_given_up_lies_inside_a_row(lots: list[list[int]]) -> None:
    ranges = GapRanges(Cause.OVERFLOW)
    table: dict[int, Gap] = {}
    times = list(accumulate(each for lot in lots for each in lot))
    rest = iter(times)
    for lot in lots:
        for row in ranges.add([tick_at(ts_us) for ts_us in islice(rest, len(lot))]):
            table[row.from_us] = row
    for ts_us in times:
        assert any(row.from_us < ts_us < (row.to_us or 0) for row in table.values())


# --- whoever fills them -----------------------------------------------------------------------


def test_whoever_fills_gaps_is_told_each_that_has_an_end(kept: Kept) -> None:
    told: list[Gap] = []
    kept.tracker.ledger.on_closed = told.append
    run_ticks(kept, 10)
    kept.tracker.trouble(Cause.DISCONNECT)
    assert told == []
    run_ticks(kept, 20)
    assert told == [gap(10, 20, "disconnect")]


def test_a_shorter_end_is_told_too(kept: Kept) -> None:
    told: list[Gap] = []
    kept.tracker.ledger.on_closed = told.append
    run_ticks(kept, 10)
    kept.tracker.trouble(Cause.DISCONNECT)
    kept.tracker.rest(Cause.STOPPED, at_us=90)
    run_ticks(kept, 50)
    assert [each for each in told if each.cause == "disconnect"] == [
        gap(10, 91, "disconnect"),
        gap(10, 50, "disconnect"),
    ]


def test_what_was_filled_waits_beside_what_the_tracker_says() -> None:
    ledger = GapLedger()
    filled = GapFill(MARKET, 10, 20, "stale", "full", "3 ticks")
    ledger.put(gap(10, 20, "stale"))
    ledger.put_fill(filled)
    assert (ledger.take(), ledger.take_fills()) == ([gap(10, 20, "stale")], [filled])
    later = filled._replace(fill="partly")
    ledger.put_fill(later)
    ledger.put_back_fill(filled)  # it could not be accepted, and there is a later word
    assert ledger.take_fills() == [later]
    ledger.put_back_fill(filled)
    assert (ledger.take_fills(), ledger.take_fills()) == ([filled], [])
