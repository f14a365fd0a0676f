"""Finds the market that somebody names, among those in the database and those in the settings."""

from collections.abc import Collection, Iterable

import attrs

from domain.errors import RejectedError
from domain.market import market_id, split_market_id
from storage.session import Session

SUGGESTIONS = 3


@attrs.frozen(kw_only=True)
class FoundMarket:
    """A market: its name, `SYMBOL@VENUE`, and its id in the database, None where it has no rows yet."""

    name: str
    id: int | None


def find_market(session: Session, *, name: str, configured: Collection[str]) -> FoundMarket:
    """Return the market of a name: `SYMBOL@VENUE`, or a symbol that only one venue has.

    A market that is in the settings no longer is found by its rows, one of `configured` that has
    no rows yet is found too. Raises `RejectedError` that tells the venues of an ambiguous symbol, or
    the nearest names of an unknown one.
    """
    symbol = split_market_id(name)[0] if "@" in name else name
    ids = _ids(session.query("SELECT id, venue, symbol FROM market WHERE symbol = ?", (symbol,)))
    # Compared once more: to MySQL a name with spaces after it is the same name.
    known = [market for market in {*ids, *configured} if name in (market, split_market_id(market)[0])]
    if len(known) == 1:
        return FoundMarket(name=known[0], id=ids.get(known[0]))
    if known:
        raise RejectedError(f"market {name!r} is at several venues: {', '.join(sorted(known))}")
    every = {*_ids(session.query("SELECT id, venue, symbol FROM market")), *configured}
    raise RejectedError(
        f"market {name!r} is neither in the database nor in the settings{_nearest(name, every)}"
    )


def _ids(rows: Iterable[tuple[int, str, str]]) -> dict[str, int]:
    return {market_id(symbol=symbol, venue=venue): int(id_) for id_, venue, symbol in rows}


def _nearest(name: str, markets: Iterable[str]) -> str:
    """Return `; did you mean …?` with the markets most like a name, which may lack its venue, or nothing."""
    import difflib  # by the message of a mistake only

    by_word = {market if "@" in name else split_market_id(market)[0]: market for market in sorted(markets)}
    by_lower = {word.lower(): market for word, market in by_word.items()}
    found = difflib.get_close_matches(name.lower(), by_lower, n=SUGGESTIONS)
    return f"; did you mean {' or '.join(by_lower[word] for word in found)}?" if found else ""
