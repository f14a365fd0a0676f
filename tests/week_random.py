"""Hours of any trouble: scripts that nobody wrote."""

from random import Random

from week_script import BEGINS, DAY_S, DAYS, NEW_NAME, RENAMED, Event, Script, at_s

from venues.simulated.faults import DOOR_KINDS, Kind
from venues.simulated.prices import FX_PAIRS

# A quiet day, and the two ends of a weekend.
HOURS = (("Fri 18:30", "Fri 22:30"), ("Sun 19:30", "Sun 23:30"), ("Mon 10:00", "Mon 13:00"))
CUTS = ("close", "reset", "half-open", "shutdown", *sorted(DOOR_KINDS))
QUIET_AT_END_S = 3_000.0  # everybody is to be well again by then
CLOSE_TOGETHER_S = 40.0  # half of it happens within so long of what was before: in the way back
CUT_S = (5.0, 200.0)
DEAD_S = 30.0  # a socket that is frozen for less than a client's patience loses ticks, and nobody can know
LOCK_S = (10.0, 1_500.0)


def any_trouble(seed: int) -> Script:
    """Return one of the scripts that there may be."""
    random = Random(seed)
    begins, ends = random.choice(HOURS)
    first_s, last_s = at_s(begins) + 1.0, at_s(ends) - QUIET_AT_END_S
    moments_s = [random.uniform(first_s, last_s)]
    for _ in range(random.randint(2, 11)):
        near_s = moments_s[-1] + random.uniform(0.0, CLOSE_TOGETHER_S)
        moments_s.append(min(last_s, random.choice((near_s, random.uniform(first_s, last_s)))))
    events = [_any_event(random, _when(each_s)) for each_s in moments_s]
    expires_s = random.uniform(first_s + 600.0, last_s - 1_000.0)
    events += [
        Event(_when(expires_s), "olymp", "expires"),
        Event(_when(expires_s + random.uniform(1.0, 1_000.0)), "olymp", "set"),
        Event(_when(random.uniform(first_s + 600.0, last_s)), "olymp", "rename", RENAMED, NEW_NAME),
    ]
    if random.choice((True, False)):
        lock_s = random.uniform(*LOCK_S)
        events.append(Event(_when(random.uniform(first_s, last_s)), "olymp", "lock", for_s=lock_s))
    return Script(begins, ends, sorted(events, key=lambda event: at_s(event.when)))


def _any_event(random: Random, when: str) -> Event:
    kind = random.choice((*CUTS, "silent"))
    if kind == "silent":
        symbols = [symbol for symbol in FX_PAIRS if symbol != RENAMED]
        return Event(when, "olymp", kind, random.choice(symbols))
    lasts = Kind(kind) in (*DOOR_KINDS, Kind.HALF_OPEN)
    venue = random.choice(("olymp", "olymp", "bin"))
    shortest_s = DEAD_S if kind == Kind.HALF_OPEN else CUT_S[0]
    return Event(when, venue, kind, for_s=random.uniform(shortest_s, CUT_S[1]) if lasts else 0.0)


def _when(after_s: float) -> str:
    days, rest_s = divmod(after_s + BEGINS.hour * 3_600, DAY_S)
    minutes, rest_s = divmod(rest_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{DAYS[int(days)]} {hours:.0f}:{minutes:.0f}:{rest_s:.3f}"
