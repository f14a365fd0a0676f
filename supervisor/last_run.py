"""Why the last run ended: put together from what it wrote, what the service manager saw, and the kernel."""

import re
import signal

import attrs

from supervisor.run_record import End, RunRecord, ServiceResult, SignsOfLife

SETTINGS_EXIT = 78  # EX_CONFIG of sysexits(3)
NEAR_LIMIT = 0.85  # whoever is killed with so much of its limit in use was probably killed for it
CRASHING = ("ABRT", "SEGV", "BUS", "FPE", "ILL", "SYS", "TRAP")  # nobody sends these for fun
FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)', re.MULTILINE)


@attrs.frozen(kw_only=True)
class LastRun:
    """How the last run ended, in words, and when; None where that is not known.

    `is_bad` where nobody wanted it to end. `stack` is what it left behind of its threads.
    """

    end: End
    detail: str
    started_us: int | None = None
    ended_us: int | None = None
    is_bad: bool = False
    stack: str = ""


@attrs.frozen(kw_only=True)
class Evidence:
    """All that is known of a run that has ended. `boot_id` and `oom_kills` are as they are now."""

    record: RunRecord
    boot_id: str
    oom_kills: int | None
    service: ServiceResult | None = None
    signs: SignsOfLife = attrs.field(factory=SignsOfLife)
    stack: str = ""


def judge(found: Evidence) -> LastRun:
    """Return why a run ended. Its own word counts first, then the service manager's."""
    ended = found.record.ended
    at_us: int | None
    if ended is not None:
        end, detail, at_us = ended.how, ended.words, ended.at_us
        # What the settings say wrong nobody starts again until they are mended.
        is_bad = end is End.CRASH and ended.exit_code != SETTINGS_EXIT
    else:
        end, detail = _judge_silence(found)
        at_us = found.signs.at_us if found.service is None else found.service.at_us
        is_bad = True
    return LastRun(
        end=end,
        detail=detail,
        started_us=found.record.started_us,
        ended_us=at_us,
        is_bad=is_bad,
        stack=found.stack,
    )


def _judge_silence(found: Evidence) -> tuple[End, str]:
    """Judge a run that could say nothing any more."""
    if found.service is not None:
        return _judge_by_service(found, found.service)
    before, now = found.record.boot_id, found.boot_id
    if before and now and before != now:
        return End.POWER_LOSS, "the machine went down without stopping it"
    if found.stack:
        return End.CRASH, f"{found.stack.partition(chr(10))[0]}{_hung_at(found.stack)}"
    if not (before and now):
        return _judge_kill(found, else_=(End.UNKNOWN, "it was killed, or the machine went down"))
    return _judge_kill(found, else_=(End.KILLED, "without a word, as by SIGKILL"))


def _judge_by_service(found: Evidence, service: ServiceResult) -> tuple[End, str]:
    """Judge by what systemd saw: systemd.exec(5), $SERVICE_RESULT."""
    match service:
        case ServiceResult(result="watchdog"):
            return End.WATCHDOG, f"the watchdog ended it: it did not answer any more{_hung_at(found.stack)}"
        case ServiceResult(result="oom-kill"):
            return End.OOM, "the kernel's OOM killer ended it"
        case ServiceResult(result="timeout"):
            return End.KILLED, "the service manager ended it: it took too long to start or to stop"
        case ServiceResult(code="exited", status=status):
            return End.CRASH, f"exit code {status}, without a word"
        case ServiceResult(status="KILL"):
            return _judge_kill(found, else_=(End.KILLED, "by SIGKILL"))
        case ServiceResult(status=status) if status in CRASHING:
            return End.CRASH, f"by SIG{status}{_hung_at(found.stack)}"
        case ServiceResult(status=status) if f"SIG{status}" in signal.Signals.__members__:
            return End.KILLED, f"by SIG{status}"
        case _:
            return End.UNKNOWN, f"the service manager says: {service.result} {service.code} {service.status}"


def _judge_kill(found: Evidence, *, else_: tuple[End, str]) -> tuple[End, str]:
    """Judge a run that was killed without a word, perhaps for want of memory."""
    record, rss = found.record, found.signs.rss_bytes
    before, now = record.oom_kills, found.oom_kills
    if before is not None and now is not None and now > before:
        return End.OOM, "the kernel's OOM killer was at work in its control group"
    limit = record.memory_limit_bytes
    if limit is not None and rss is not None and rss >= NEAR_LIMIT * limit:
        use = f"{rss / 2**20:.0f} of {limit / 2**20:.0f} MiB"
        return End.OOM, f"probably the kernel's OOM killer: it was killed with {use} in use"
    return else_


def _hung_at(stack: str) -> str:
    """Return where the main thread was, by the stacks that faulthandler writes; nothing without them."""
    place = FRAME.search(stack.partition("Current thread")[2]) or FRAME.search(stack)
    if place is None:
        return ""
    return f", in {place['name']} ({place['file'].rpartition('/')[2]}:{place['line']})"
