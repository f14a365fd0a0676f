"""Months without help, in small: a week of trouble on a clock that jumps."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from trio.testing import MockClock
from week_oracle import (
    SECOND_US,
    Tables,
    differences,
    expected_gaps,
    gap_differences,
    most_within,
    unexplained,
)
from week_random import any_trouble
from week_script import NEW_NAME, WEEK, WEEKEND, Script, at_us
from week_world import CALM_S, STALE_AFTER_S, World, live_through, set_clocks

from supervisor.simulate import server
from venues.simulated.prices import FX_PAIRS
from wire import heartbeat

TROUBLE_OF_OURS = {"crash", "quarantine", "refused_row"}
FOR_EVER = 2**62
NEAR_US = 60 * SECOND_US  # each end of a gap lies so near to what made it


async def test_a_weekend_of_trouble_needs_no_help(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Of 60 hours most of the work would be pings into the silence of a weekend.
    monkeypatch.setattr(heartbeat, "PING_AFTER_S", 20.0)
    monkeypatch.setattr(server, "PASS_TIME_EVERY_S", 5.0)
    await _lives_through(WEEKEND, autojump_clock, monkeypatch, tmp_path / "state")


@pytest.mark.soak
async def test_a_week_of_trouble_needs_no_help(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await _lives_through(WEEK, autojump_clock, monkeypatch, tmp_path / "state")


@pytest.mark.parametrize("seed", range(2))
async def test_hours_of_any_trouble_leave_no_tick_unexplained(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await _stands_any_trouble(seed, autojump_clock, monkeypatch, tmp_path / "state")


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 42))
async def test_days_of_any_trouble_leave_no_tick_unexplained(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await _stands_any_trouble(seed, autojump_clock, monkeypatch, tmp_path / "state")


async def _stands_any_trouble(
    seed: int, clock: MockClock, monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> None:
    script = any_trouble(seed)
    set_clocks(monkeypatch, clock, script)
    world = await live_through(script, state_dir, monkeypatch)
    world.states.pop(f"{script.renamed}@olymp")
    assert set(world.states.values()) <= {"live", "closed"}
    assert (world.olymp.bans, world.binance.bans) == (0, 0)
    tables = Tables.of(state_dir / "marketd.db")
    _check_currency_ticks(world, tables)
    _check_coin_ticks(world, tables)
    assert _events(state_dir / "marketd.db") & TROUBLE_OF_OURS == set()


async def _lives_through(
    script: Script, clock: MockClock, monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> None:
    set_clocks(monkeypatch, clock, script)
    world = await live_through(script, state_dir, monkeypatch)
    _check_states(world)
    _check_manners(world)
    tables = Tables.of(state_dir / "marketd.db")
    _check_currency_ticks(world, tables)
    _check_currency_gaps(world, tables)
    _check_coin_ticks(world, tables)
    _check_coin_gaps(world, tables)
    assert _events(state_dir / "marketd.db") & TROUBLE_OF_OURS == set()


def _check_states(world: World) -> None:
    """Everybody is live but the renamed one, which says what it is called now."""
    renamed = f"{world.script.renamed}@olymp"
    assert world.states.pop(renamed) == "failed"
    assert NEW_NAME in world.reasons[renamed]
    assert set(world.states.values()) == {"live"}
    assert world.live_after_set_s <= 30.0
    assert world.tree.exit_code == 0
    assert world.tree.finished is not None
    assert world.tree.finished.lost == 0


def _check_manners(world: World) -> None:
    """Nobody was punished; each way back took one connect and one subscribe a market."""
    assert (world.olymp.bans, world.binance.bans) == (0, 0)
    renamed_us = at_us(world.script.when("rename"))
    cuts = len([event for event in world.script.events if event.venue == "olymp" and event.is_cut])
    assert len(world.olymp.knocks_us) == 1 + cuts + 1  # the start, the cuts, the new token
    assert most_within(world.olymp.knocks_us, 60) == 1
    sessions = len([at for at in world.olymp.knocks_us if at > renamed_us])
    again = 1 - sessions  # the silent one; the renamed one, in each session after
    assert len(world.olymp.subscribes_us) == len(FX_PAIRS) * len(world.olymp.knocks_us) + again
    assert most_within(world.olymp.subscribes_us, 60) <= len(FX_PAIRS)
    noticed_us = at_us(world.script.when("shutdown"))
    assert any(0 <= each - noticed_us <= NEAR_US for each in world.binance.knocks_us)
    days = (world.binance.knocks_us[-1] - world.binance.knocks_us[0]) / SECOND_US / 86_400
    assert len(world.binance.knocks_us) <= 1 + 2 + days  # the start, a cut and a notice, rotations
    assert most_within(world.binance.knocks_us, 60) == 1


def _check_currency_ticks(world: World, tables: Tables) -> None:
    for symbol in FX_PAIRS:
        stored, gaps = tables.ticks[f"{symbol}@olymp"], tables.gaps[f"{symbol}@olymp"]
        assert len(stored) > 10 or symbol == world.script.renamed
        assert differences(world.olymp.pasts[symbol].between(0, FOR_EVER), stored, gaps) == []
        assert unexplained(stored, gaps, longest_us=round(2 * CALM_S) * SECOND_US) == []


def _check_currency_gaps(world: World, tables: Tables) -> None:
    """Each has its cause: the weekend, cuts and the token, a silence that was noticed, a venue's no."""
    for symbol in FX_PAIRS:
        expected = expected_gaps(world.script, symbol, silence_us=round(STALE_AFTER_S) * SECOND_US)
        assert gap_differences(expected, tables.gaps[f"{symbol}@olymp"], within_us=NEAR_US) == []


def _check_coin_ticks(world: World, tables: Tables) -> None:
    """What a cut lost came from the venue's history."""
    for symbol, past in world.binance.pasts.items():
        stored, sent = tables.ticks[f"{symbol}@bin"], past.between(0, FOR_EVER)
        assert [tick[:3] for tick in sent] == [tick[:3] for tick in stored]
        assert differences(sent, stored, tables.gaps[f"{symbol}@bin"]) == []


def _check_coin_gaps(world: World, tables: Tables) -> None:
    """A notice and rotations leave none."""
    for symbol in world.binance.pasts:
        assert [(row.cause, row.fill) for row in tables.gaps[f"{symbol}@bin"]] == [("disconnect", "full")]


def _events(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {event for (event,) in connection.execute("SELECT DISTINCT event FROM actor_event")}
