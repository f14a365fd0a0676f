"""Who is in which state. Says it once whenever somebody's state changes."""

import logging
import time

import trio

from domain.clock import now_us
from domain.events import Event, emit
from domain.states import ConnectionRow, Desired, MarketRow, State
from supervisor.policy import connection_state, market_state

# What the operator should see at once; the rest is the ordinary way from waiting to live.
LEVELS = {
    State.LIVE: logging.INFO,
    State.STOPPED: logging.INFO,
    State.CLOSED: logging.INFO,
    State.BACKING_OFF: logging.WARNING,
    State.STALE: logging.WARNING,
    State.QUARANTINED: logging.ERROR,
    State.FAILED: logging.ERROR,
}


class Board:
    """The rows of all markets and connections, and the state each was last seen in."""

    def __init__(self) -> None:
        self.markets: dict[str, MarketRow] = {}
        self.connections: dict[str, ConnectionRow] = {}
        self._seen: dict[str, State] = {}
        self._has_ended = False

    def add_market(self, row: MarketRow) -> None:
        """Put a market on the board, in the order of the settings."""
        self.markets[row.name] = row
        self._seen[row.name] = self.market_state(row)

    def add_connection(self, row: ConnectionRow) -> None:
        """Put a connection on the board."""
        self.connections[row.name] = row
        self._seen[row.name] = connection_state(row)

    def remove(self, name: str) -> None:
        """Take a market or a connection off the board."""
        self.markets.pop(name, None)
        self.connections.pop(name, None)
        self._seen.pop(name, None)

    def end(self) -> None:
        """From now on nobody's state is news: everybody is being stopped."""
        self._has_ended = True

    def market_state(self, row: MarketRow) -> State:
        """Return the state a market is in now."""
        return market_state(row, trio.current_time())

    def market_changed(self, row: MarketRow) -> None:
        """Look at a market again; say so if its state is another than last time."""
        if self.markets.get(row.name) is not row:
            return  # taken off the board a moment ago; another may have its name
        state = self.market_state(row)
        if not self._has_changed(row.name, state):
            return
        level, reason = LEVELS.get(state, logging.DEBUG), reason_of(row)
        if state is State.FAILED and row.hold is None:  # its connection did, and has said so
            level, reason = logging.DEBUG, reason_of(row.connection)
        self._say(row.name, state, reason, level=level)

    def connection_changed(self, row: ConnectionRow) -> None:
        """Look at a connection and its markets again."""
        if self.connections.get(row.name) is not row:
            return
        state = connection_state(row)
        if self._has_changed(row.name, state):
            level = LEVELS.get(state, logging.DEBUG)
            self._say(row.name, state, reason_of(row), level=level)
        if not row.is_open or state is State.LIVE:
            for market in self.markets.values():
                if market.connection is row:
                    self.market_changed(market)

    def live_markets(self) -> int:
        """Return how many markets are live."""
        return sum(state is State.LIVE for name, state in self._seen.items() if name in self.markets)

    def wanted_markets(self) -> int:
        """Return how many markets are to run."""
        return sum(row.desired is Desired.RUNNING for row in self.markets.values())

    def _has_changed(self, name: str, state: State) -> bool:
        if self._has_ended or self._seen[name] is state:
            return False
        self._seen[name] = state
        return True

    def _say(self, name: str, state: State, reason: str, *, level: int) -> None:
        message = f"{name} {state}"
        if state is State.LIVE and name in self.markets:
            message += f", {self.live_markets()} of {self.wanted_markets()}"
        elif reason:
            message += f": {reason}"
        emit(
            Event.STATE,
            message,
            level=level,
            actor=f"{'market' if name in self.markets else 'connection'}/{name}",
            state=state,
            reason=reason,
        )


def reason_of(row: MarketRow | ConnectionRow) -> str:
    """Return why a row is where it is, and when it tries again or opens."""
    if row.hold is None:
        is_closed = isinstance(row, MarketRow) and row.hours.is_closed and row.connection.is_open
        return opens_text(row.hours.opens_us) if isinstance(row, MarketRow) and is_closed else ""
    if row.next_try_at is None:
        return row.reason
    return f"{row.reason}; next try in {max(0.0, row.next_try_at - trio.current_time()):.0f} s"


def opens_text(opens_us: int | None) -> str:
    """Return when a closed market opens, for people."""
    if opens_us is None or opens_us <= now_us():
        return "when it opens is not known"
    at_s, wait_s = opens_us / 1_000_000, (opens_us - now_us()) // 1_000_000
    hours, minutes = divmod(wait_s // 60, 60)
    return f"opens {time.strftime('%a %Y-%m-%d %H:%M UTC', time.gmtime(at_s))}, in {hours} h {minutes:02} min"
