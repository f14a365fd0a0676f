"""The judge of trades can say no: each kind of damage to sound books is found."""

from collections.abc import Callable
from decimal import Decimal

import attrs
import pytest
from trade_oracle import (
    Books,
    EventSeen,
    Figures,
    SignalSeen,
    Terms,
    TradeSeen,
    judge_trades,
    stable_id,
)

from domain.gaps import Cause, Gap
from domain.market import Tick

EUR, GBP = "EURUSD@sim", "GBPUSD@sim"
SECOND_US = 1_000_000
BASE_US = 1_700_000_000 * SECOND_US
DELAY_US = 1_000  # from the venue to us
STAKE = Decimal("10.01")
TERMS = Terms(
    latency_us=500_000,
    is_tie_lost=False,
    payout_percent=82.5,
    start=Decimal(1000),
    stake=STAKE,
    max_open=2,
    max_open_per_market=1,
    max_losses_in_a_row=2,
    pause_us=20 * SECOND_US,
)

# A price a second. Decided at n, opened half a second later at n's price, ended five seconds later at
# the price of n + 5.
PRICES = {
    EUR: [1.0, 1.1, 1.2, 1.1, 1.2, 1.3, 1.4, 1.2, 1.1, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0],
    GBP: [2.0] * 20,
}
GAP = Gap(GBP, BASE_US + 14 * SECOND_US, BASE_US + 17 * SECOND_US, Cause.DISCONNECT)


def at(second: float) -> int:
    return BASE_US + int(second * SECOND_US)


def ticks() -> list[Tick]:
    found = [
        Tick(market, at(n), n, price, None, None, None, at(n) + DELAY_US)
        for market, prices in PRICES.items()
        for n, price in enumerate(prices)
    ]
    return [tick for tick in found if tick.market != GAP.market or not GAP.from_us < tick.ts_us < GAP.to_us]


def signal(market: str, n: int, direction: str, reason: str = "") -> SignalSeen:
    outcome = "refused" if reason else "approved"
    id_ = stable_id("signal", "s", market, at(n), n)
    return SignalSeen(id_, market, "s", at(n), direction, 5, PRICES[market][n], outcome, reason)


def trade(of: SignalSeen, state: str, settled: float | None, profit: str | None) -> TradeSeen:
    n = (of.ts_us - BASE_US) // SECOND_US
    is_open = state != "refused"
    close = PRICES[of.market][n + 5] if state in ("won", "lost", "tied") else None
    settled_us = None if settled is None else at(settled)
    if settled_us is not None and state != "void":
        settled_us += DELAY_US
    return TradeSeen(
        stable_id("trade", "paper", "s", of.market, of.ts_us, n), of.id, of.market, "paper", of.direction,
        STAKE, 82.5, state, at(n) + DELAY_US, at(n) + 2 * DELAY_US if is_open else None,
        at(n + 0.5) if is_open else None, of.price if is_open else None,
        at(n + 5.5) if is_open else None, settled_us, close,
        None if profit is None else Decimal(profit),
    )  # fmt: skip


def steps(of: TradeSeen, *states: str, cause: str = "") -> list[EventSeen]:
    return [
        EventSeen(stable_id(of.id, n), of.id, of.intended_us + n, state, cause)
        for n, state in enumerate(states)
    ]


S_WON, S_LOST, S_TIED = signal(EUR, 0, "up"), signal(EUR, 6, "up"), signal(GBP, 0, "down")
S_VOID, S_LATE, S_REFUSED = (
    signal(GBP, 10, "up"),
    signal(EUR, 13, "up"),
    signal(EUR, 1, "up", "open_trades: 2"),
)
WON = trade(S_WON, "won", 6, "8.25")  # 8.258 to the cent, rounded down
LOST = trade(S_LOST, "lost", 12, "-10.01")
TIED = trade(S_TIED, "tied", 6, "0")
VOID = trade(S_VOID, "void", 15.5, "0")
LATE = trade(S_LATE, "refused", None, None)
ROADS = {
    WON: ("intended", "sent", "open", "won"),
    LOST: ("intended", "sent", "open", "lost"),
    TIED: ("intended", "sent", "open", "tied"),
    VOID: ("intended", "sent", "open", "void"),
    LATE: ("intended", "refused"),
}
EVENTS = [event for each, road in ROADS.items() for event in steps(each, *road)]
SOUND = Books(
    terms=TERMS,
    signals=[S_WON, S_LOST, S_TIED, S_VOID, S_LATE, S_REFUSED],
    trades=[WON, LOST, TIED, VOID, LATE],
    events=EVENTS,
    ticks=ticks(),
    gaps=[GAP],
    figures=Figures(
        at_us=at(30),
        balance=Decimal("998.24"),
        open=0,
        unknown=0,
        trades_today=4,
        realised_today=Decimal("-1.76"),
    ),
    accepted=[{S_WON.id, EVENTS[0].id}, set()],
)


def changed(old: TradeSeen, **fields: object) -> Books:
    """Return sound books but for some columns of a trade."""
    trades = [each._replace(**fields) if each == old else each for each in SOUND.trades]  # type: ignore[arg-type]
    return attrs.evolve(SOUND, trades=trades)


def with_steps(of: TradeSeen, *states: str, cause: str = "") -> Books:
    others = [event for event in EVENTS if event.trade_id != of.id]
    return attrs.evolve(changed(of, state=states[-1]), events=others + steps(of, *states, cause=cause))


def more(*trades: TradeSeen, **signals: SignalSeen) -> Books:
    return attrs.evolve(SOUND, trades=[*SOUND.trades, *trades], signals=[*SOUND.signals, *signals.values()])


def figures(**fields: object) -> Books:
    return attrs.evolve(SOUND, figures=attrs.evolve(SOUND.figures, **fields))  # type: ignore[arg-type]


def terms(**fields: object) -> Books:
    return attrs.evolve(SOUND, terms=attrs.evolve(TERMS, **fields))  # type: ignore[arg-type]


def without_trade(of: TradeSeen) -> Books:
    return attrs.evolve(
        SOUND,
        trades=[each for each in SOUND.trades if each != of],
        events=[event for event in EVENTS if event.trade_id != of.id],
    )


def test_sound_books_are_not_complained_of() -> None:
    assert judge_trades(SOUND) == []


SECOND_ON_TICK = S_WON._replace(id=S_WON.id + 1)

DAMAGE: dict[str, tuple[Callable[[], Books], str]] = {
    "accepted and forgotten": (
        lambda: attrs.evolve(SOUND, accepted=[set(), {12345}]),
        "accepted in life 1 and forgotten",
    ),
    "a trade forgotten": (lambda: without_trade(LOST), "0 trades of a signal that was approved"),
    "a trade doubled": (lambda: more(WON._replace(id=WON.id + 1)), "2 trades of a signal"),
    "a refused signal traded": (
        lambda: more(trade(S_REFUSED, "won", 7, "8.25")),
        "1 trades of a signal that was refused",
    ),
    "a trade of nobody": (lambda: changed(WON, signal_id=7), "a trade without its signal"),
    "the other direction": (lambda: changed(WON, direction="down"), "a trade unlike its signal"),
    "another market": (lambda: changed(WON, market=GBP), "a trade unlike its signal"),
    "two signals on a tick": (lambda: more(again=SECOND_ON_TICK), "2 signals of one strategy on one tick"),
    "an id of chance": (lambda: more(again=SECOND_ON_TICK), "its id is not its own"),
    "a trade's id of chance": (lambda: changed(WON, id=WON.id + 1), "its id is not its own"),
    "a price that never was": (
        lambda: attrs.evolve(SOUND, signals=[S_WON._replace(price=9.0), *SOUND.signals[1:]]),
        "decided on a price that is not kept",
    ),
    "a step missing": (
        lambda: attrs.evolve(SOUND, events=[event for event in EVENTS if event != EVENTS[1]]),
        "not numbered from 0 on",
    ),
    "a step twice": (
        lambda: attrs.evolve(SOUND, events=[*EVENTS, EVENTS[3]._replace(id=5)]),
        "not numbered from 0 on",
    ),
    "steps of nobody": (
        lambda: attrs.evolve(SOUND, events=[*EVENTS, EventSeen(5, 6, at(0), "intended", "")]),
        "steps of a trade that is not there",
    ),
    "settled twice": (
        lambda: with_steps(WON, "intended", "sent", "open", "won", "won"),
        "won became won",
    ),
    "settled and opened again": (
        lambda: with_steps(WON, "intended", "sent", "open", "won", "open"),
        "won became open",
    ),
    "refused and yet sent": (
        lambda: with_steps(LATE, "intended", "refused", "sent"),
        "refused became sent",
    ),
    "another last step": (lambda: changed(TIED, state="void"), "its last step is tied"),
    "left open": (lambda: with_steps(WON, "intended", "sent", "open"), "never came to its end"),
    "left intended": (lambda: with_steps(LATE, "intended"), "never came to its end"),
    "another opening price": (lambda: changed(WON, open_price=1.05), "it came to"),
    "another closing price": (lambda: changed(WON, close_price=1.25), "it came to"),
    "opened later": (lambda: changed(WON, opened_us=at(0.6)), "it came to"),
    "ended later": (lambda: changed(WON, expires_us=at(6.5)), "it came to"),
    "settled by another tick": (lambda: changed(WON, settled_us=at(7) + DELAY_US), "it came to"),
    "won and lost": (
        lambda: with_steps(WON, "intended", "sent", "open", "lost"),
        "it came to",
    ),
    "decided inside a gap": (
        lambda: with_steps(VOID, "intended", "sent", "open", "tied"),
        "it came to",
    ),
    "void without a gap": (lambda: attrs.evolve(SOUND, gaps=[]), "it came to"),
    "refused for want of a price": (
        lambda: with_steps(LATE, "intended", "refused", cause="no_price"),
        "and there was one",
    ),
    "refused with a result": (lambda: changed(LATE, profit=Decimal(-1)), "and yet it has a result"),
    "a cent too much": (lambda: changed(WON, profit=Decimal("8.26")), "its profit is 8.25"),
    "lost for nothing": (lambda: changed(LOST, profit=Decimal(0)), "its profit is -10.01"),
    "another stake": (lambda: changed(WON, stake=Decimal(10)), "not at the stake"),
    "another payout": (lambda: changed(WON, payout_percent=90.0), "not at the stake and payout"),
    "a second on its market": (
        lambda: terms(max_open_per_market=0),
        "the market had 0 open already",
    ),
    "too many at a time": (lambda: terms(max_open=0), "0 were open already"),
    "another balance": (lambda: figures(balance=Decimal("998.25")), "status says"),
    "one still open": (lambda: figures(open=1), "status says"),
    "one unknown": (lambda: figures(unknown=1), "status says"),
    "fewer trades today": (lambda: figures(trades_today=3), "status says"),
    "another profit today": (lambda: figures(realised_today=Decimal(0)), "status says"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found(damage: Callable[[], Books], complaint: str) -> None:
    complaints = judge_trades(damage())
    assert any(complaint in each for each in complaints), complaints


def entered_after_a_loss(*, pause_s: int, **ended: TradeSeen) -> list[str]:
    """Judge a trade that begins two seconds after a loss, with which a pause begins."""
    later = signal(EUR, 14, "up")
    return judge_trades(
        attrs.evolve(
            terms(max_losses_in_a_row=1, pause_us=pause_s * SECOND_US),
            signals=[*SOUND.signals, later],
            trades=[*SOUND.trades, *ended.values(), trade(later, "won", 20, "8.25")],
        )
    )


def test_a_trade_in_a_pause_is_found_and_one_after_it_is_not() -> None:
    assert any("in the pause" in each for each in entered_after_a_loss(pause_s=10))
    assert not any("in the pause" in each for each in entered_after_a_loss(pause_s=1))


def test_a_win_that_comes_meanwhile_ends_no_pause() -> None:
    won = trade(signal(EUR, 7, "down"), "won", 13, "8.25")
    assert any("in the pause" in each for each in entered_after_a_loss(pause_s=10, won=won))


def test_today_ends_at_midnight() -> None:
    tomorrow = figures(at_us=at(30) + 86_400 * SECOND_US)
    assert judge_trades(tomorrow) != []
    none = attrs.evolve(tomorrow.figures, trades_today=0, realised_today=Decimal(0))
    assert judge_trades(attrs.evolve(tomorrow, figures=none)) == []
