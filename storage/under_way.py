"""Whether trades are under way: all that a daemon without strategies asks of the ledger."""

from storage.session import Session

# Compared with each state: so the index of states is used, where there is one.
ANY = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM trade WHERE state IN ('intended', 'sent', 'open', 'unknown') "
    "LIMIT 1) AS found"
)


def has_trades_under_way(session: Session) -> bool:
    """Return whether a trade of any mode has not come to its end."""
    return bool(session.query(ANY)[0][0])
