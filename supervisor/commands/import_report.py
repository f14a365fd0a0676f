"""What `marketd import` tells of a table: every row is in one of its figures."""

from collections.abc import Iterator

from domain.clock import as_text
from storage.import_map import Kind
from storage.importing import Account, MarketAccount


def told(account: Account, *, brought: str) -> Iterator[str]:
    """Yield the lines of one table; `brought` is what its rows were, or would be: "imported"."""
    table = account.table
    kind = "ticks" if table.kind is Kind.TICKS else f"candles of {table.timeframe_s} s"
    yield f"{table.table}: {account.rows:,} rows read as {kind}"
    for name in sorted(account.markets):
        yield from _market_lines(name, account.markets[name], kind=table.kind, brought=brought)
    if account.refused_rows:
        yield f"  not imported: {account.refused_rows:,} rows"
    for (column, reason), refused in sorted(account.refused.items(), key=lambda each: -each[1].count):
        yield f"    {refused.count:,}: {column} {reason}"
        for sample in refused.samples:
            yield f"      row {sample.row:,}: {column} = {sample.value} ({sample.whole})"
    if account.symbols:
        names = ", ".join(f"{name} {count:,}" for name, count in account.symbols.most_common())
        yield f"    without a market: {names}"


def _market_lines(name: str, market: MarketAccount, *, kind: Kind, brought: str) -> Iterator[str]:
    assert market.first_us is not None and market.last_us is not None, "it was seen"  # noqa: PT018
    figures = [f"{market.added:,} {brought}"]
    if market.replaced:
        figures.append(f"{market.replaced:,} {brought} in the place of incomplete candles")
    if market.known:
        figures.append(f"{market.known:,} there already from an import")
    if market.ours:
        better = "our own ticks are there" if kind is Kind.TICKS else "our own candles are there"
        figures.append(f"{market.ours:,} left out, because {better}")
    if market.gaps:
        gaps = "1 gap" if market.gaps == 1 else f"{market.gaps:,} gaps"
        figures.append(f"{gaps} in what was recorded")
    yield f"  {name}: {', '.join(figures)}"
    yield f"    from {as_text(market.first_us)} to {as_text(market.last_us)}"
