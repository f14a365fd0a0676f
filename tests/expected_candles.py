"""The candles as they should be: computed from ticks and gaps in plain Python, to compare the table with."""

from collections.abc import Iterable, Mapping, Sequence

from domain.market import Tick

SECOND_US = 1_000_000
FOR_EVER_US = 2**62

# market, timeframe_s, open_us → open, high, low, close, ticks, volume, complete
Key = tuple[str, int, int]
Row = tuple[float, float, float, float, int, float, int]
Candles = dict[Key, Row]


def overlaps(gap: tuple[int, int | None], *, open_us: int, end_us: int) -> bool:
    """Whether a whole microsecond lies in both: the gap without its ends, the interval without its end."""
    from_us, to_us = gap
    return any(
        from_us < t and (to_us is None or t < to_us) and open_us <= t < end_us
        for t in (open_us, from_us + 1)  # the first of each: where the two overlap, it is one of them
    )


def candles_of(
    ticks: Iterable[Tick],
    *,
    timeframes_s: Sequence[int],
    gaps: Mapping[tuple[str, int], int | None] | None = None,
    until_us: int = FOR_EVER_US,
    from_us: int = 0,
) -> Candles:
    """The candles as they should be: intervals that end by `until_us` and begin from `from_us` on."""
    groups: dict[Key, dict[tuple[int, int], Tick]] = {}
    for each in ticks:
        for timeframe_s in timeframes_s:
            number = each.ts_us // (timeframe_s * SECOND_US)
            key = (each.market, timeframe_s, number * timeframe_s * SECOND_US)
            groups.setdefault(key, {}).setdefault((each.ts_us, each.seq), each)
    found = {}
    for (market, timeframe_s, open_us), group in groups.items():
        end_us = open_us + timeframe_s * SECOND_US
        if end_us > until_us or open_us < from_us:
            continue
        ordered = [group[key] for key in sorted(group)]
        prices = [each.price for each in ordered]
        is_hit = any(
            overlaps((gap_from, gap_to), open_us=open_us, end_us=end_us)
            for (name, gap_from), gap_to in (gaps or {}).items()
            if name == market
        )
        volume = sum(each.volume or 0.0 for each in ordered)
        found[market, timeframe_s, open_us] = (
            *(prices[0], max(prices), min(prices), prices[-1]),
            *(len(ordered), volume, int(not is_hit)),
        )
    return found
