"""The fixed vocabulary of what the log and the `actor_event` table say, and the one way to say it."""

import enum
import logging
import uuid

MESSAGE_IDS = uuid.UUID("24532d16-634f-4602-91df-29b3703ca990")  # ours; never to change
LOGGER = logging.getLogger("marketd")


class Event(enum.StrEnum):
    """What happened; `EVENT=` in the journal, `event` in JSON lines and in `actor_event`."""

    START = "start"  # the daemon starts; detail: version, state directory, database
    READY = "ready"  # control answers, the gate runs, ticks are accepted
    LAST_RUN = "last_run"  # how the run before this one ended, and what was saved of it
    STOP = "stop"  # a stop was asked for, and its last line
    STATE = "state"  # a market or connection changed its state
    HOURS = "hours"  # markets are closed, when they open, and what is open meanwhile
    CRASH = "crash"  # an actor failed by our own fault
    RESTART = "restart"  # an actor is started over, and why
    QUARANTINE = "quarantine"  # too many crashes: one probe at a time from now on
    FRAME = "frame"  # a frame could not be decoded
    UNKNOWN = "unknown"  # a message or a field of a venue that this version does not know, each kind once
    MEMORY = "memory"  # memory is short: what can be done without is given up; or it has room again
    OVERFLOW = "overflow"  # more prices came in than the disk takes; the oldest were dropped
    CLOCK = "clock"  # the wall clock stepped back, or is too far from a venue's
    DATABASE = "database"  # the database went away or came back
    JOURNAL = "journal"  # the journal was damaged, is full, cannot be written, or is well again
    REFUSED_ROW = "refused_row"  # the database refused a row for its data; it is in dead_letter
    MIGRATION = "migration"  # the schema was brought up to date
    RETENTION = "retention"  # ticks were divided into days, or given up early for want of room
    BACKFILL = "backfill"  # gaps were asked for in a venue's history
    RELOAD = "reload"  # the settings were read again, or could not be
    CONTROL = "control"  # somebody asked for something over the control socket
    STRATEGY = "strategy"  # a strategy was set aside on a market, and why, or starts cold
    TRADER = "trader"  # trades of before are known, new ones may be opened; or a pause after losses begins
    TRADE = "trade"  # a trade is open, has ended, or could not be opened
    SIGNAL = "signal"  # a limit refused what a strategy wished for; the same again is folded
    DESIRED = "desired"  # what is wanted changed: market stopped, drain, kill switch
    STATUS = "status"  # one line per child, on SIGUSR1
    SETTINGS = "settings"  # something about the settings the operator should know
    TOKEN = "token"  # noqa: S105  # a token is new, expires soon, has expired, was refused
    LOG = "log"  # of the log itself: entries were dropped
    FAULT = "fault"  # the simulator did what --fault asked for

    @property
    def message_id(self) -> str:
        """`MESSAGE_ID=` in the journal: the same for this event on every machine, for ever."""
        return uuid.uuid5(MESSAGE_IDS, self.value).hex


def emit(
    event: Event,
    message: str,
    *,
    level: int = logging.INFO,
    actor: str = "",
    **fields: str | int | float | None,
) -> None:
    """Say once what happened: `message` for people, the rest as fields for machines.

    `fields` are what `docs/events.md` names: state, reason, ids. Never per tick, never a secret, never
    a whole frame. Market and venue of an actor that belongs to one need not be given.
    """
    fields = {**_whereabouts(actor), **fields}
    LOGGER.log(level, "%s", message, extra={"event": event, "actor": actor, "fields": fields})


def _whereabouts(actor: str) -> dict[str, str]:
    """Return the market and venue that an actor's name tells: `market/EURUSD@sim`, `connection/sim/1`."""
    kind, _, name = actor.partition("/")
    match kind:
        case "market":
            return {"market": name, "venue": name.rpartition("@")[2]}
        case "connection" | "backfill":
            return {"venue": name.partition("/")[0]}
    return {}
