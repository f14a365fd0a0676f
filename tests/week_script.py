"""What happens in a week, as a table; and what of it is to be found in the `gap` table afterwards."""

from collections.abc import Sequence
from datetime import UTC, datetime

import attrs

from venues.simulated.faults import Kind

BEGINS = datetime(2026, 11, 26, 12, tzinfo=UTC)  # a Thursday
BEGINS_US = int(BEGINS.timestamp()) * 1_000_000
DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")
DAY_S = 86_400.0

CLOSES, OPENS = "Fri 21:00", "Sun 21:00"  # what currency pairs keep


def at_s(when: str) -> float:
    """Return a moment such as `Mon 09:00:30` in seconds after the week's beginning."""
    day, _, clock = when.partition(" ")
    hours, minutes, *seconds = (float(part) for part in clock.split(":"))
    since_midnight_s = hours * 3600 + minutes * 60 + sum(seconds)
    found_s = DAYS.index(day) * DAY_S + since_midnight_s - BEGINS.hour * 3600
    return found_s if found_s >= 0 else found_s + 7 * DAY_S


def at_us(when: str) -> int:
    """Return it as the wall clock shows it."""
    return BEGINS_US + round(at_s(when) * 1_000_000)


@attrs.frozen
class Event:
    """One thing that happens; `venue` is which simulated one does it, `symbol` the market concerned.

    `what`: the simulator's faults (`close`, `reset` and `half-open` cut the venue's sockets, `shutdown`
    is a notice); `silent` makes it forget one subscription; `rename` gives a market the id `new`;
    `expires` is the end of the token's life, `set` a new one's arrival.
    """

    when: str
    venue: str
    what: str
    symbol: str = ""
    new: str = ""
    for_s: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Return whether it ends the venue's sockets."""
        return self.what in ("close", "reset", "half-open")

    @property
    def is_fault(self) -> bool:
        """Return whether it is one of the simulator's own faults."""
        return self.what in set(Kind) - {Kind.SILENT}


@attrs.frozen
class Script:
    """What happens from `begins` to `ends`."""

    begins: str
    ends: str
    events: Sequence[Event]

    def when(self, what: str) -> str:
        """Return when that happens, which does so once."""
        (found,) = [event.when for event in self.events if event.what == what]
        return found

    @property
    def renamed(self) -> str:
        """Return the market that gets another name."""
        (found,) = [event.symbol for event in self.events if event.what == "rename"]
        return found


SILENT, RENAMED, NEW_NAME = "EURGBP", "GBPNZD", "GBPNZD_X"

WEEK = Script(
    begins="Thu 12:00",
    ends="Thu 11:00",
    events=(
        Event("Thu 15:00", "olymp", "close"),
        Event("Thu 20:00", "olymp", "silent", SILENT),
        Event("Fri 03:00", "olymp", "reset"),
        # Fri 21:00: currency pairs close
        Event("Sat 11:00", "bin", "shutdown"),
        Event("Sat 18:00", "olymp", "reset"),
        # Sun 21:00: and open
        Event("Mon 09:00", "olymp", "half-open", for_s=300.0),
        Event("Mon 15:00", "bin", "reset"),
        Event("Tue 06:00", "olymp", "rename", RENAMED, NEW_NAME),
        Event("Wed 04:00", "olymp", "expires"),
        Event("Wed 05:30", "olymp", "set"),
    ),
)

WEEKEND = Script(
    begins="Fri 15:00",
    ends="Mon 03:00",
    events=(
        Event("Fri 16:00", "olymp", "close"),
        Event("Fri 17:00", "olymp", "silent", SILENT),
        Event("Fri 18:00", "olymp", "reset"),
        Event("Fri 19:00", "bin", "reset"),
        # Fri 21:00: currency pairs close
        Event("Sat 11:00", "bin", "shutdown"),
        Event("Sat 18:00", "olymp", "reset"),
        Event("Sun 12:00", "olymp", "expires"),
        # Sun 21:00: and open
        Event("Sun 22:30", "olymp", "set"),
        Event("Sun 23:30", "olymp", "rename", RENAMED, NEW_NAME),
        Event("Mon 01:30", "olymp", "half-open", for_s=300.0),
    ),
)
