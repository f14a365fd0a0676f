"""Lives of a daemon as they are to be: what happens in them, and how they end."""

import enum
import itertools
import random
from collections.abc import Iterator

import attrs

from domain.crash_points import NAMES, TRADE_NAMES

REACHED_WITHIN_S = 4.0  # a point that is not reached by then is given up
TRADED_WITHIN_S = 10.0  # the same where it takes a trade, which has to wait for a price and its end
JOURNAL_NAMES = tuple(name for name in NAMES if name.startswith(("accept.", "store.")))


class Size(enum.Enum):
    """How much the journal may hold."""

    LARGE = "large"
    SMALL = "small"


class Trouble(enum.Enum):
    """What else happens in a life."""

    NONE = "none"
    BURST = "burst"
    COMMANDS = "commands"
    DATABASE_LOST = "database lost"
    DATABASE_AWAY = "database away at the start"


class End(enum.Enum):
    """How a life is to end."""

    POINT = "point"
    KILL = "kill"
    STOP = "stop"


@attrs.frozen(kw_only=True)
class Plan:
    """One life as it is to be. `at_s` is when it ends, where no crash point ends it."""

    end: End
    at_s: float
    point: str = ""
    nth: int = 0
    trouble: Trouble = Trouble.NONE
    size: Size = Size.LARGE

    @property
    def crash_at(self) -> str:
        return f"{self.point}:{self.nth}" if self.point else ""

    def __str__(self) -> str:
        how = self.crash_at or f"{self.at_s:.2f} s"
        return f"{self.end.value} {how}, trouble: {self.trouble.value}, journal: {self.size.value}"


MOST = {
    "accept": 12,
    "store": 5,
    "trim": 3,
    "drop": 2,
    "control": 2,
    "trade": 12,
}  # passes before a crash point kills
ANY_TROUBLE = (*[Trouble.NONE] * 6, *[Trouble.BURST] * 2, Trouble.DATABASE_LOST, Trouble.DATABASE_AWAY)
NO_LOSS = (*[Trouble.NONE] * 3, Trouble.BURST)


def plan_point(point: str, *, random_: random.Random) -> Plan:
    """Return a life that ends at a crash point, the n-th time it is reached."""
    part = point.partition(".")[0]
    troubles = {"accept": ANY_TROUBLE, "drop": ANY_TROUBLE, "control": (Trouble.COMMANDS,)}.get(part, NO_LOSS)
    return Plan(
        end=End.POINT,
        at_s=REACHED_WITHIN_S,
        point=point,
        nth=random_.randint(1, MOST[part]),
        trouble=random_.choice(troubles),
        size=Size.SMALL if part == "drop" else Size.LARGE,
    )


def plan_kill(*, random_: random.Random) -> Plan:
    """Return a life that ends at any moment: while it starts, or later."""
    return Plan(
        end=End.KILL,
        at_s=random_.uniform(0.2, 2.2),
        trouble=random_.choice((*ANY_TROUBLE, Trouble.COMMANDS)),
        size=random_.choice((*[Size.LARGE] * 7, Size.SMALL)),
    )


def plan_lives(*, kills: int, random_: random.Random) -> Iterator[Plan]:
    """Yield lives with so many kills among them, two of three at a crash point, each of these in turn."""
    points = itertools.cycle(random_.sample(NAMES, len(NAMES)))
    for number in range(kills):
        if random_.random() < 0.06:
            yield Plan(end=End.STOP, at_s=random_.uniform(0.3, 1.0))
        yield plan_kill(random_=random_) if number % 3 == 2 else plan_point(next(points), random_=random_)


def plan_trading_lives(*, kills: int, random_: random.Random) -> Iterator[Plan]:
    """Yield lives of a daemon that trades, with so many kills among them, two of three at a crash point.

    Each point of a trade's way has its turn twice as often as those of the journal and the database.
    """
    points = (*TRADE_NAMES, *TRADE_NAMES, *JOURNAL_NAMES)
    turns = itertools.cycle(random_.sample(points, len(points)))
    for number in range(kills):
        if random_.random() < 0.06:
            yield Plan(end=End.STOP, at_s=random_.uniform(0.3, 1.0))
        yield (
            plan_trading_kill(random_=random_)
            if number % 3 == 2
            else plan_trading_point(next(turns), random_=random_)
        )


def plan_trading_point(point: str, *, random_: random.Random) -> Plan:
    """Return a life that ends at a crash point, in which nothing keeps trades from being made."""
    most = MOST[point.partition(".")[0]]
    return Plan(
        end=End.POINT,
        at_s=TRADED_WITHIN_S,
        point=point,
        nth=random_.randint(1, most),
        trouble=random_.choice(NO_LOSS),
    )


def plan_trading_kill(*, random_: random.Random) -> Plan:
    """Return a life that ends at any moment: while it starts, while trades are open, or later."""
    return Plan(end=End.KILL, at_s=random_.uniform(0.2, 6.0), trouble=random_.choice(ANY_TROUBLE))
