"""What `marketd check` says of strategies: what each stakes, and what a ladder can lose and how likely."""

from collections.abc import Iterator
from decimal import Decimal

from strategies.stake import Plan, break_even_rate, chance_of_loss, chance_within, ladder_loss
from supervisor.commands.findings import Finding, doubtful, good
from supervisor.market_specs import market_specs
from supervisor.sections import Settings
from supervisor.terms import currency_of, limits_of, plan_of, stakes_of
from venues import find_venue

USUAL_PAYOUT_PERCENT = 80.0  # where the venue tells it for each market
IN_TRADES = 100
MOST_STAKE_PERCENT = 5  # of the balance; more is gone after a short row of losses
MOST_LADDER_PERCENT = 10
MOST_DAY_PERCENT = 25


def check_trading(settings: Settings) -> Iterator[Finding]:
    """Yield what is to say of each strategy and of the limits. The strategies have been loaded before."""
    trading = settings.trading
    balance, currency = trading.paper_balance, currency_of(trading)
    for name, section in settings.strategies.items():
        what, plan = f"strategy {name}", plan_of(section)
        markets = [spec for spec in market_specs(settings) if name in spec.strategies]
        if not markets:
            yield doubtful(what, "decides on no market: no [[markets]] names it in its strategies")
        stakes = stakes_of(plan, balance=balance)
        words = f"{section.kind}, trades of {section.expiry_s} s, on markets: {len(markets)}"
        yield good(what, f"{words}, stake {_stake_text(plan, stakes[0])} {currency}")
        if _share(stakes[0], balance) > MOST_STAKE_PERCENT:
            yield doubtful(
                what,
                f"a stake is {_share(stakes[0], balance):.1f} % of the balance of {balance} {currency}; "
                f"above {MOST_STAKE_PERCENT} % a short row of losses takes most of it",
            )
        if plan.martingale is not None:
            venues = {settings.venues[spec.venue].protocol for spec in markets}
            payout = min((_payout_of(protocol) for protocol in venues), default=USUAL_PAYOUT_PERCENT)
            yield from _ladder_findings(plan, payout=payout, balance=balance, what=what, currency=currency)
    yield from _limit_findings(settings)


def _ladder_findings(
    plan: Plan, *, payout: float, balance: Decimal, what: str, currency: str
) -> Iterator[Finding]:
    stakes = stakes_of(plan, balance=balance)
    steps, loss = len(stakes), ladder_loss(plan, balance=balance)
    yield good(
        what,
        f"its ladder: after a loss the next stake is higher: {', '.join(map(str, stakes))}. "
        f"{steps} losses in a row lose {loss} {currency}; a win at any step ends the ladder",
    )
    for win_rate, words in (
        (break_even_rate(payout), f"the share that neither wins nor loses money where {payout:g} % are paid"),
        (0.5, "as with a coin"),
    ):
        once, within = (
            chance_of_loss(steps=steps, win_rate=win_rate),
            chance_within(steps=steps, win_rate=win_rate, trades=IN_TRADES),
        )
        yield good(
            what,
            f"if {win_rate * 100:.1f} % of trades win ({words}), a ladder loses all its steps "
            f"{_one_in(once)}; within {IN_TRADES} trades that happens at least once with {_percent(within)}",
        )
    if _share(loss, balance) > MOST_LADDER_PERCENT:
        yield doubtful(
            what,
            f"one lost ladder takes {_share(loss, balance):.1f} % of the balance of {balance} {currency}. "
            "A ladder does not make a losing strategy win: it makes losses rarer and larger",
        )


def _limit_findings(settings: Settings) -> Iterator[Finding]:
    limits, balance = limits_of(settings), settings.trading.paper_balance
    currency = currency_of(settings.trading)
    yield good(
        "trading",
        f"on {settings.trading.mode}; a day may lose {limits.max_daily_loss} {currency}, "
        f"{limits.max_trades_per_day} trades a day, {limits.max_open_trades} open at a time; "
        f"days end at midnight, {limits.zone}",
    )
    if _share(limits.max_daily_loss, balance) > MOST_DAY_PERCENT:
        yield doubtful(
            "trading",
            f"a day may lose {_share(limits.max_daily_loss, balance):.0f} % of the balance of {balance} "
            f"{currency}: [trading] max_daily_loss = {limits.max_daily_loss}",
        )


def _stake_text(plan: Plan, first: Decimal) -> str:
    return str(first) if plan.percent is None else f"{plan.percent:g} % of the balance, at first {first}"


def _payout_of(protocol: str) -> float:
    return find_venue(protocol).contract.payout_percent or USUAL_PAYOUT_PERCENT


def _share(part: Decimal, whole: Decimal) -> float:
    return float(part / whole * 100)


def _one_in(chance: float) -> str:
    return f"once in {1 / chance:.0f} times" if chance > 0 else "never"


def _percent(chance: float) -> str:
    """Return a chance in words that never say "certain" of what is not."""
    percent = chance * 100
    if percent > 99.9:
        return "more than 99.9 % chance"
    return f"{percent:.1f} % chance"
