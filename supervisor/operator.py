"""What the operator can ask of a running daemon, over the control socket or by a signal."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
import msgspec
import trio

from actors.control import Peer
from domain.clock import now_us
from domain.errors import RejectedError, StorageBusy
from domain.events import Event, emit
from domain.gaps import Cause
from domain.messages import Unsubscribe
from domain.states import Desired
from supervisor import desired
from supervisor.listings import content_of
from supervisor.tree import Tree

READ_S = 25.0  # less than the client's patience, so that it hears why


class Operator:
    """Carries out what is asked; answers a dict for JSON, or raises RejectedError."""

    def __init__(self, *, tree: Tree, status: Callable[[], dict[str, Any]]) -> None:
        self._tree = tree
        self._status = status
        self._saving = trio.CapacityLimiter(1)  # a thread that a hung disk keeps holds up the next save only

    async def handle(self, command: str, arguments: Mapping[str, Any], peer: Peer) -> Any:
        """Carry out one command."""
        match command:
            case "status":
                return self._status()
            case "market":
                return await self._market(arguments)
            case "shutdown":
                return self._shutdown(str(peer))
            case "drain":
                return await self._drain(arguments)
            case "markets":
                return self._markets(arguments)
            case "history" | "gaps" | "trades" | "trade" | "refused" | "refusals":
                return await self._read(command, arguments)
            case _:
                raise RejectedError(f"command {command!r} is not known to this daemon")

    # --- markets ------------------------------------------------------------------------------

    async def _market(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        actions = {"start": self._start, "stop": self._stop, "restart": self._restart}
        action = arguments.get("action")
        names = arguments.get("markets")
        if not isinstance(action, str) or action not in actions:
            raise RejectedError(f"market: action {action!r} is not start, stop or restart")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise RejectedError(f"market: markets {names!r} is not a list of ids")
        markets = self.find_markets(names)
        for market in markets:
            actions[action](market)
        self._tree.desired.want(markets, Desired.STOPPED if action == "stop" else Desired.RUNNING)
        done = {"stop": "stopped", "start": "started", "restart": "restarted"}[action]
        emit(Event.DESIRED, f"{done} on request: {_few(markets)}", actor="control")
        return {"markets": markets, "remembered": await self.save()}

    def find_markets(self, names: list[str]) -> list[str]:
        """Return the ids that names stand for: an id, a symbol that is unique, or `all`."""
        if names == ["all"]:
            return list(self._tree.markets)
        return list(dict.fromkeys(self._find_market(name) for name in names))

    def _find_market(self, name: str) -> str:
        markets = self._tree.markets
        if name in markets:
            return name
        found = [market for market, branch in markets.items() if branch.spec.symbol == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise RejectedError(f"market {name!r} is at several venues: {', '.join(found)}")
        raise RejectedError(f"market {name!r} is not in the settings")

    def _start(self, market: str) -> None:
        """Start it now, whatever held it; its connection too, if that waits or has failed."""
        branch = self._tree.markets[market]
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

    def _stop(self, market: str) -> None:
        """Stop it now, also while it backs off, and unsubscribe it."""
        branch = self._tree.markets[market]
        branch.child.stop()
        branch.port.gaps.rest(Cause.STOPPED, at_us=now_us())
        branch.connection.place.let_go(branch.port, symbol=branch.spec.symbol)

    def _restart(self, market: str) -> None:
        """Unsubscribe it and start it over."""
        branch = self._tree.markets[market]
        branch.connection.place.requests.put_nowait(Unsubscribe(symbol=branch.spec.symbol))
        self._start(market)
        branch.child.restart()

    # --- what the venues list -----------------------------------------------------------------

    def _markets(self, arguments: Mapping[str, Any]) -> Any:
        """Return a venue's list of markets, as it stands."""
        name = arguments.get("venue")
        venue = self._tree.venues.get(name) if isinstance(name, str) else None
        if venue is None:
            known = ", ".join(self._tree.venues)
            raise RejectedError(f"markets: venue {name!r} is not in the settings; there are: {known}")
        return msgspec.to_builtins(content_of(venue.place.catalog))

    # --- what is stored -----------------------------------------------------------------------

    async def _read(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return one page; the database has a deadline of its own for each statement."""
        from supervisor import reading, requests  # with what they bring, 0.2 MiB

        configured = requests.Configured(
            markets=tuple(self._tree.markets),
            timeframes_s=tuple(self._tree.settings.storage.timeframes_s),
        )
        work = reading.plan(command, arguments, configured=configured)
        with trio.move_on_after(READ_S):
            return requests.settle(await self._tree.writer.read(work))
        raise StorageBusy(f"{command}: the database did not answer within {READ_S:.0f} s")

    # --- the daemon ---------------------------------------------------------------------------

    def _shutdown(self, who: str) -> dict[str, Any]:
        # No trade can be open yet, so there is none to wait for.
        emit(Event.STOP, f"stopping on request of {who}", actor="tree", who=who)
        self._tree.stop(f"stopped on request of {who}")
        return {"stopping": True}

    async def _drain(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        is_on = arguments.get("on")
        if not isinstance(is_on, bool):
            raise RejectedError(f"drain: on {is_on!r} is not true or false")
        return {"drain": is_on, "remembered": await self.set_drain(is_on=is_on)}

    async def set_drain(self, *, is_on: bool) -> bool:
        """Switch entries of new trades off (on) and remember it; return whether it is on disk."""
        self._tree.desired.drain = is_on
        emit(Event.DESIRED, f"drain {'on: no new trades' if is_on else 'off'}", actor="control")
        return await self.save()

    async def save(self) -> bool:
        """Put what is wanted on disk; return False, and say so, where that fails."""
        snapshot = attrs.evolve(
            self._tree.desired,
            stopped=list(self._tree.desired.stopped),
            started=list(self._tree.desired.started),
        )
        write = partial(desired.write, self._tree.state_dir, snapshot)
        try:
            await trio.to_thread.run_sync(write, limiter=self._saving, abandon_on_cancel=True)
        except OSError as exc:
            emit(
                Event.DESIRED,
                f"{desired.FILE_NAME} cannot be written: {exc}; in force, but not over a restart",
                level=logging.ERROR,
                actor="control",
            )
            return False
        return True


def _few(markets: list[str]) -> str:
    """Return some names and how many there are more."""
    return ", ".join(markets[:5]) + (f" and {len(markets) - 5} more" if len(markets) > 5 else "")
