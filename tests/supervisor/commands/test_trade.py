from typing import Any

import pytest
from traded import FIRST_US, a_trade, its_signal, its_steps

from domain.gaps import Gap
from domain.market import Tick
from domain.trades import Position
from supervisor.commands.trade import trade_lines
from supervisor.trade_reading import COLUMNS

AT_US = FIRST_US + 500_000  # opened; a minute later it ended


def tick(*, at_us: int, price: float, source: str = "live") -> dict[str, Any]:
    return Tick("EURUSD@sim", at_us, 0, price, None, None, None, at_us, source)._asdict()


def answer(position: Position, **changes: Any) -> dict[str, Any]:
    """Return what is answered to `trade` where the prices are as a venue had them."""
    trade = position.trade
    row = (*trade._replace(), position.strategy, position.expiry_s, position.ts_us)
    opened, expires = trade.opened_us or 0, trade.expires_us or 0
    found = {
        "trade": dict(zip(COLUMNS, row, strict=True)),
        "signal": its_signal(position)._asdict() | {"inputs": {"rsi": 28.125, "above": False}},
        "events": [step._asdict() for step in its_steps(position)],
        "gaps": [],
        "at_opening": [
            tick(at_us=opened - 900_000, price=1.0841),
            tick(at_us=opened, price=1.0842),
            tick(at_us=opened + 1, price=1.0843),
        ],
        "at_expiry": [
            tick(at_us=expires - 1, price=trade.close_price or 1.1),
            tick(at_us=expires + 1, price=1.09),
        ],
    }
    return found | changes


def lines_of(position: Position, **changes: Any) -> list[str]:
    return list(trade_lines(answer(position, **changes)))


def fact(lines: list[str], name: str) -> str:
    [found] = [line for line in lines if line.startswith(name + " ")]
    return found.removeprefix(name).strip()


def test_loss_is_explained_from_decision_to_result() -> None:
    lines = lines_of(a_trade("lost"))
    assert lines[0].endswith(": lost, −10.00")
    assert lines[1] == "1.0838 < 1.0842, direction up → lost: −10.00"
    assert fact(lines, "because of") == "rsi 28.125, above False"
    assert "120 ms old" in fact(lines, "decided on")
    assert fact(lines, "slippage") == "+0.00005 from the price decided on, worse for this direction"
    assert fact(lines, "latency") == (
        "500 ms from the price to the opening by the venue's clock, "
        "100 ms from the decision to sending by ours"
    )
    assert fact(lines, "closed at") == "1.0838, by our own ticks"


def test_prices_around_say_which_of_them_the_trade_has() -> None:
    lines = lines_of(a_trade("won"))
    marked = [line.split(maxsplit=3)[1:] for line in lines if "the last one by then" in line]
    assert marked == [
        ["1.0842", "live", "the last one by then: the opening price"],
        ["1.0846", "live", "the last one by then: the closing price"],
    ]
    late = [tick(at_us=AT_US, price=1.0999, source="backfill")]
    [line] = [line for line in lines_of(a_trade("won"), at_opening=late) if "by then" in line][:1]
    assert line.split(maxsplit=3)[1:] == ["1.0999", "backfill", "the last one by then"]


def test_opening_at_the_first_price_after_is_marked_too() -> None:
    position = a_trade("won")
    after = [tick(at_us=AT_US - 1, price=1.08), tick(at_us=AT_US + 9, price=1.0842)]
    text = "\n".join(lines_of(position, at_opening=after))
    assert "the first one after: the opening price" in text


@pytest.mark.parametrize(
    ("price", "says"),
    [
        (1.0842, "none: it opened at the price decided on"),
        (1.08425, "-0.00005 from the price decided on, better"),
    ],
)
def test_slippage_is_exact_and_says_for_whom_it_was(price: float, says: str) -> None:
    position = a_trade("won")
    signal = its_signal(position, price=price)._asdict()
    assert fact(lines_of(position, signal=signal), "slippage").startswith(says)


def test_trade_that_is_not_settled_says_what_it_waits_for() -> None:
    lines = lines_of(a_trade("open"))
    assert lines[1] == "open: won if the price at its end is > 1.0842"
    refused = lines_of(a_trade("refused"), at_opening=[], at_expiry=[])
    assert refused.count("  it never came to that") == 2


def test_numbers_that_do_not_give_the_result_are_said_so() -> None:
    position = a_trade("lost")
    wrong = answer(position)
    wrong["trade"]["state"] = "won"
    assert any("THIS DOES NOT ADD UP" in line for line in trade_lines(wrong))
    assert not any("ADD UP" in line for line in lines_of(position))


def test_gaps_and_prices_that_are_gone_are_said_so() -> None:
    gap = Gap("EURUSD@sim", AT_US + 5, None, "stale")
    lines = lines_of(a_trade("void"), gaps=[gap._asdict()], at_opening=[], at_expiry=[])
    assert lines.count("  they are not kept any longer") == 2
    assert any("stale" in line for line in lines)
    assert "  none" in lines_of(a_trade("won"))


def test_trade_without_a_signal_is_shown_all_the_same() -> None:
    lines = lines_of(a_trade("won"), signal=None)
    assert not any(line.startswith(("decided on", "slippage")) for line in lines)
    assert lines[1].endswith("→ won: 10.00 × 80 % = +8.00")
