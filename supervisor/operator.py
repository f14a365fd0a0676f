"""What the operator can ask of a running daemon, over the control socket or by a signal."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from actors.control import Peer
from actors.mailbox import Answer
from domain.errors import MarketdError, RejectedError, StorageBusy
from domain.events import Event, emit
from domain.states import Desired
from supervisor.listings import content_of
from supervisor.switching import restart_market, start_market
from supervisor.tree import Tree

READ_S = 25.0  # less than the client's patience, so that it hears why


class Operator:
    """Carries out what is asked; answers a dict for JSON, or raises RejectedError."""

    def __init__(self, *, tree: Tree, status: Callable[[], dict[str, Any]]) -> None:
        self._tree = tree
        self._status = status

    async def handle(self, command: str, arguments: Mapping[str, Any], peer: Peer) -> Any:
        """Carry out one command."""
        match command:
            case "status":
                return self._status()
            case "market":
                return await self._market(arguments)
            case "shutdown":
                return self._shutdown(arguments, who=str(peer))
            case "drain":
                return await self._drain(arguments)
            case "kill_switch":
                return await self._kill_switch(arguments, who=str(peer))
            case "why":
                return self._why(arguments)
            case "markets":
                return self._markets(arguments)
            case "history" | "gaps" | "last_candles" | "trades" | "trade" | "refused" | "refusals":
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
        if self._tree.floor is not None:
            self._tree.floor.go_on(market)
        start_market(self._tree.markets[market])

    def _stop(self, market: str) -> None:
        self._tree.entrance.stop_market(market)

    def _restart(self, market: str) -> None:
        if self._tree.floor is not None:
            self._tree.floor.go_on(market)
            self._tree.floor.desks.renew(self._tree.markets[market].spec)
        restart_market(self._tree.markets[market])

    # --- why nothing is traded ----------------------------------------------------------------

    def _why(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what blocks new trades on a market now, how its strategies stand, and the limits."""
        name = arguments.get("market")
        if not isinstance(name, str):
            raise RejectedError(f"why: market {name!r} is not an id")
        market, floor = self._find_market(name), self._tree.floor
        if floor is None:
            block = {"reason": "no_strategies", "text": "no market of the settings has strategies"}
            return {"market": market, "blocks": [block], "strategies": [], "limits": {}}
        blocks = [{"reason": each.reason.value, "text": each.text} for each in floor.blocks(market)]
        refused = floor.objections(market)
        strategies = [
            row | {"refused": str(refused.get(row["strategy"], "")) or None}
            for row in floor.desks.rows(market)
        ]
        if not strategies:
            blocks.insert(0, {"reason": "no_strategies", "text": f"{market} has no strategies"})
        return {
            "market": market,
            "blocks": blocks,
            "strategies": strategies,
            "limits": floor.limits_on(market),
        }

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
        answer = Answer[dict[str, Any] | RejectedError]()

        async def read() -> None:
            try:
                answer.set(await self._tree.writer.read(work))
            except MarketdError as error:
                answer.fail(error)

        # In a task of its own: a thread that hangs in the database cannot be left by a deadline.
        self._tree.soon(f"read {command}", read)
        with trio.move_on_after(READ_S):
            return requests.settle(await answer.wait())
        raise StorageBusy(f"{command}: the database did not answer within {READ_S:.0f} s")

    # --- the daemon ---------------------------------------------------------------------------

    def _shutdown(self, arguments: Mapping[str, Any], *, who: str) -> dict[str, Any]:
        after_trades, max_wait_s = arguments.get("after_trades", False), arguments.get("max_wait_s")
        if not isinstance(after_trades, bool):
            raise RejectedError(f"shutdown: after_trades {after_trades!r} is not true or false")
        if max_wait_s is not None and not (isinstance(max_wait_s, int | float) and max_wait_s >= 0):
            raise RejectedError(f"shutdown: max_wait_s {max_wait_s!r} is not a number from 0 up")
        why = f"stopped on request of {who}"
        if not after_trades:
            emit(Event.STOP, f"stopping on request of {who}", actor="tree", who=who)
            self._tree.stop(why)
            return {"stopping": True}
        count = self._tree.entrance.stop_after_trades(why, max_wait_s=max_wait_s)
        emit(Event.STOP, f"no new trades; stopping once {count} have ended", actor="tree", who=who)
        return {"stopping": True, "open": count}

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

    async def _kill_switch(self, arguments: Mapping[str, Any], *, who: str) -> dict[str, Any]:
        is_on, reason = arguments.get("on"), arguments.get("reason")
        if not isinstance(is_on, bool):
            raise RejectedError(f"kill-switch: on {is_on!r} is not true or false")
        if not isinstance(reason, str) or not reason.strip():
            raise RejectedError(f"kill-switch: reason {reason!r}: say why, it is kept with who and when")
        switch = self._tree.keeper.kill if is_on else self._tree.keeper.release
        switch(who=who, reason=reason.strip())
        return {"kill_switch": is_on, "remembered": await self.save()}

    async def save(self) -> bool:
        """Put what is wanted on disk; return False, and say so, where that fails."""
        return await self._tree.keeper.save()


def _few(markets: list[str]) -> str:
    """Return some names and how many there are more."""
    return ", ".join(markets[:5]) + (f" and {len(markets) - 5} more" if len(markets) > 5 else "")
