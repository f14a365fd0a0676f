"""Starts and stops one market, with what its gaps and its venue have to hear of it."""

from domain.clock import now_us
from domain.gaps import Cause
from domain.messages import Unsubscribe
from domain.states import Desired
from supervisor.branches import MarketBranch


def start_market(branch: MarketBranch) -> None:
    """Start it now, whatever held it; its connection too, if that waits or has failed."""
    if branch.connection.place.row.hold is not None:
        branch.connection.child.start()
    branch.port.gaps.resume(Cause.STOPPED, at_us=now_us())
    branch.port.hours.pass_time(at_us=now_us())  # nobody did while it was stopped
    if branch.port.hours.is_closed:
        branch.port.gaps.rest(Cause.CLOSED, at_us=now_us())
    # Until it is subscribed its ticks are missed; one that runs already misses none.
    if branch.port.row.desired is Desired.STOPPED or not branch.connection.place.row.is_open:
        branch.port.gaps.trouble(Cause.DISCONNECT)
    branch.child.start()


def stop_market(branch: MarketBranch) -> None:
    """Stop it now, also while it backs off, and unsubscribe it."""
    branch.child.stop()
    branch.port.gaps.rest(Cause.STOPPED, at_us=now_us())
    branch.connection.place.let_go(branch.port, symbol=branch.spec.symbol)


def restart_market(branch: MarketBranch) -> None:
    """Unsubscribe it and start it over."""
    branch.connection.place.requests.put_nowait(Unsubscribe(symbol=branch.spec.symbol))
    start_market(branch)
    branch.child.restart()
