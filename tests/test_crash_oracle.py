"""The judge of the crash runs can say no: each kind of damage to sound evidence is found."""

from collections.abc import Callable

import attrs
import pytest
from crash_oracle import Evidence, Handed, Life, as_sent, judge
from daemons import Sent
from expected_candles import candles_of

from domain.gaps import Cause, Gap
from domain.market import Tick

MARKET, SYMBOL = "GBPUSD@sim", "GBPUSD"
SECOND_US = 1_000_000
BASE_US = 1_700_000_000 * SECOND_US
DELAY_US = 1_000  # from the venue to us
STEP_US = 50_000


def tick(n: int) -> Tick:
    ts_us = BASE_US + n * STEP_US
    return Tick(MARKET, ts_us, n, 1.0 + n / 64, None, None, 1.0, ts_us + DELAY_US)


def at(n: float) -> int:
    return BASE_US + int(n * STEP_US)


# Twenty ticks a second. The first life is killed after number 42, of which 40, 41 and 42 were not
# accepted; the second stops in order after number 99.
KEPT = [tick(n) for n in range(100) if n not in (40, 41, 42)]
GAP = Gap(MARKET, at(39), at(43), Cause.DOWNTIME)
FIRST = Life(
    name="first",
    started_us=at(-10),
    ended_us=at(42.5),
    was_killed=True,
    accepted=frozenset(as_sent(each) for each in KEPT[20:40]),
)
SECOND = Life(name="second", started_us=at(42.6), ended_us=at(99.9), was_killed=False)


def with_candles(evidence: Evidence) -> Evidence:
    """Return the evidence with the candles of its ticks and gaps."""
    gaps = {(gap.market, gap.from_us): gap.to_us for gap in evidence.gaps}
    until_us = BASE_US + 4 * SECOND_US
    candles = candles_of(evidence.stored, timeframes_s=[1], gaps=gaps, until_us=until_us)
    return attrs.evolve(evidence, candles=candles)


SOUND = with_candles(
    Evidence(
        handed=[Handed(as_sent(tick(n)), at(n)) for n in range(100)],
        stored=KEPT,
        gaps=[GAP],
        candles={},
        timeframes_s=[1],
        lives=[FIRST, SECOND],
        window_us=350_000,
    )
)


def changed(**changes: object) -> Evidence:
    """Return sound evidence but for this; its candles are those of what is left."""
    return with_candles(attrs.evolve(SOUND, **changes))  # type: ignore[arg-type]


def without(*numbers: int) -> Evidence:
    return changed(stored=[each for each in KEPT if each.seq not in numbers])


def test_sound_evidence_is_not_complained_of() -> None:
    verdict = judge(SOUND)
    assert list(verdict.complaints) == []
    assert (verdict.lost, verdict.given_up, verdict.stored, verdict.gaps) == (3, 0, 97, 1)
    assert verdict.oldest_lost_ms == 125


LONGER = attrs.evolve(SOUND, lives=[attrs.evolve(FIRST, ended_us=at(42.5) + 300_000), SECOND])

DAMAGE = {
    "accepted and lost": (lambda: without(39), "accepted and lost"),
    "lost long before a kill": (lambda: without(5), "ms before the kill"),
    "lost in an ordered stop": (lambda: without(99), "before an ordered stop"),
    "lost amid a life": (lambda: without(60), "lost and in no gap"),
    "lost after the window": (lambda: LONGER, "ms before the kill"),
    "lost before anybody lived": (
        lambda: changed(handed=[Handed(Sent(SYMBOL, at(-30), 1_000, 1.0), at(-30)), *SOUND.handed]),
        "nobody was to receive it",
    ),
    "stored twice": (
        lambda: changed(stored=[*KEPT, tick(7)._replace(ts_us=at(7) + 1)]),
        "stored twice",
    ),
    "filled in outside of a gap": (
        lambda: changed(stored=[*KEPT, tick(200)._replace(source="backfill")]),
        "filled in where there is no gap",
    ),
    "never sent": (lambda: changed(stored=[*KEPT, tick(200)]), "never sent"),
    "another price": (
        lambda: changed(stored=[tick(0)._replace(price=9.0), *KEPT[1:]]),
        "never sent",
    ),
    "no gap": (lambda: changed(gaps=[]), "no gap from"),
    "a gap from too late": (lambda: changed(gaps=[GAP._replace(from_us=at(41))]), "no gap from"),
    "a gap to too late": (lambda: changed(gaps=[GAP._replace(to_us=at(45))]), "inside of"),
    "two gaps for one kill": (
        lambda: changed(gaps=[GAP._replace(to_us=at(41)), GAP._replace(from_us=at(41))]),
        "no gap from",
    ),
    "another market's gap": (lambda: changed(gaps=[GAP._replace(market="EURUSD@sim")]), "no gap from"),
    "a gap left open": (
        lambda: changed(gaps=[GAP, Gap(MARKET, at(99), None, Cause.DISCONNECT)]),
        "still open",
    ),
    "a gap backwards": (
        lambda: changed(gaps=[GAP, Gap(MARKET, at(60), at(50), Cause.DISCONNECT)]),
        "ends before it begins",
    ),
    "a candle missing": (
        lambda: attrs.evolve(SOUND, candles=dict(list(SOUND.candles.items())[1:])),
        "candle",
    ),
    "a candle wrong": (
        lambda: attrs.evolve(SOUND, candles={**SOUND.candles, next(iter(SOUND.candles)): (1.0,) * 7}),
        "candle",
    ),
    "a candle complete over a gap": (
        lambda: attrs.evolve(SOUND, candles=with_candles(attrs.evolve(SOUND, gaps=[])).candles),
        "candle",
    ),
    "no candles": (lambda: attrs.evolve(SOUND, candles={}), "no candles"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found(damage: Callable[[], Evidence], complaint: str) -> None:
    complaints = judge(damage()).complaints
    assert any(complaint in each for each in complaints), complaints


def test_what_a_full_journal_gave_up_is_no_loss_where_a_row_says_so() -> None:
    gaps = [GAP, Gap(MARKET, at(4) + 1, at(8) - 1, Cause.JOURNAL_FULL)]
    evidence = changed(stored=[each for each in KEPT if each.seq not in (5, 7)], gaps=gaps)
    verdict = judge(evidence)
    assert list(verdict.complaints) == []
    assert verdict.given_up == 2


def test_what_came_after_a_stop_by_command_is_no_loss_for_that_market_only() -> None:
    gaps = [GAP, Gap(MARKET, at(59), at(61), Cause.STOPPED)]
    evidence = changed(stored=[each for each in KEPT if each.seq != 60], gaps=gaps)
    assert list(judge(attrs.evolve(evidence, commanded=frozenset({MARKET}))).complaints) == []
    assert list(judge(evidence).complaints) != []
