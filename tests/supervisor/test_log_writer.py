"""The log's thread, with an output that fails as pipes, sockets and disks do."""

import logging
import threading

import pytest
from logged import GUARD_S, make_record

from supervisor.log_bounds import BURST_ENTRIES, RESERVED_ENTRIES
from supervisor.log_writer import BACKLOG_ENTRIES, LogFigures, LogWriter


class Output:
    """Takes every entry."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.is_closed = False
        self.is_writing = threading.Event()

    def render(self, record: logging.LogRecord) -> bytes:
        return record.getMessage().encode()

    def write(self, entry: bytes) -> bool:
        self.taken.append(entry.decode())
        return True

    def close(self) -> None:
        self.is_closed = True


class TakesNothingYet(Output):
    """A journald that is stopped, a full disk: refuses at once until told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, entry: bytes) -> bool:
        self.is_writing.set()
        return self.go_on.is_set() and super().write(entry)


class BlocksAtFirst(TakesNothingYet):
    """A pipe whose reader hangs: the first write does not return until told."""

    def write(self, entry: bytes) -> bool:
        self.is_writing.set()
        self.go_on.wait(GUARD_S)
        return super().write(entry)


class StallsAtTheNotice(TakesNothingYet):
    """A journald that stops again just when it is to be told how many were dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.is_saying = threading.Event()
        self.go_on_saying = threading.Event()

    def write(self, entry: bytes) -> bool:
        if b"dropped" in entry and self.go_on.is_set():
            self.is_saying.set()
            self.go_on_saying.wait(GUARD_S)
        return super().write(entry)


class ReaderIsGone(Output):
    """A pipe that nobody reads any longer."""

    def write(self, entry: bytes) -> bool:
        self.is_writing.set()
        raise BrokenPipeError


def dropped_as_said(output: Output) -> list[int]:
    """Return the numbers in the entries that say how many were dropped."""
    return [int(text.split()[0]) for text in output.taken if "dropped" in text]


def started(output: Output) -> LogWriter:
    writer = LogWriter(output)
    writer.start()
    return writer


def held_up(output: TakesNothingYet) -> LogWriter:
    """Return a log whose thread tries in vain to write the entry "first"."""
    writer = started(output)
    writer.put(make_record("first"))
    assert output.is_writing.wait(GUARD_S)
    return writer


def test_what_is_written_keeps_its_order_and_is_all_there_at_the_end() -> None:
    output = Output()
    writer = started(output)
    for n in range(BACKLOG_ENTRIES):
        writer.put(make_record(f"{n}"))
    writer.close()
    assert output.taken == [f"{n}" for n in range(BACKLOG_ENTRIES)]
    assert output.is_closed
    assert writer.figures() == LogFigures(waiting=0, dropped=0)


@pytest.mark.parametrize("output", [TakesNothingYet(), BlocksAtFirst()])
def test_a_reader_that_hangs_holds_up_nobody_and_costs_the_oldest(output: TakesNothingYet) -> None:
    writer = held_up(output)
    for n in range(BACKLOG_ENTRIES + 5):
        writer.put(make_record(f"{n}"))
    assert writer.figures() == LogFigures(waiting=BACKLOG_ENTRIES, dropped=6)
    output.go_on.set()
    writer.close()
    first, notice, *rest = output.taken
    assert first == "first"
    assert notice.startswith("6 ")  # how many are missing, said where they are
    assert rest == [f"{n}" for n in range(6, BACKLOG_ENTRIES + 5)]


def test_a_warning_is_dropped_last() -> None:
    output = TakesNothingYet()
    writer = held_up(output)
    writer.put(make_record("warning", level=logging.WARNING))
    for n in range(BACKLOG_ENTRIES):
        writer.put(make_record(f"{n}"))
    output.go_on.set()
    writer.close()
    assert output.taken[0] == "first"
    assert output.taken[2:4] == ["warning", "2"]


def test_warnings_too_are_bounded() -> None:
    writer = held_up(TakesNothingYet())
    for n in range(BACKLOG_ENTRIES + 100):
        writer.put(make_record(f"{n}", level=logging.ERROR))
    assert writer.figures().waiting == BACKLOG_ENTRIES
    assert writer.figures().dropped == 101


def test_what_was_dropped_while_its_number_was_being_said_is_said_too() -> None:
    output = StallsAtTheNotice()
    writer = held_up(output)
    for n in range(BACKLOG_ENTRIES + 3):
        writer.put(make_record(f"{n}"))
    output.go_on.set()
    assert output.is_saying.wait(GUARD_S)
    writer.put(make_record("one too many"))
    output.go_on_saying.set()
    writer.close()
    assert dropped_as_said(output) == [4, 1]
    assert writer.figures().dropped == 5


def test_a_flood_is_cut_down_and_said() -> None:
    """The unit allows 10,000 entries in 30 s; a daemon that logs without end stays below that."""
    output = Output()
    writer = started(output)
    for n in range(4 * BURST_ENTRIES):
        writer.put(make_record(f"{n}"))
    writer.put(make_record("trouble", level=logging.ERROR))
    writer.close()
    assert "trouble" in output.taken  # for which room was kept
    written = [text for text in output.taken if "dropped" not in text]
    assert len(written) + writer.figures().dropped == 4 * BURST_ENTRIES + 1
    assert writer.figures().dropped > 3 * BURST_ENTRIES
    assert len(written) < 2 * BURST_ENTRIES - RESERVED_ENTRIES
    said = dropped_as_said(output)
    assert sum(said) == writer.figures().dropped
    assert len(said) < 10  # the flood does not drown in notices of itself


def test_a_reader_that_has_left_is_no_trouble_and_nothing_is_kept_for_it() -> None:
    output = ReaderIsGone()
    writer = started(output)
    writer.put(make_record("first"))
    assert output.is_writing.wait(GUARD_S)
    assert writer._thread is not None
    writer._thread.join(GUARD_S)
    writer.put(make_record("after the end"))
    assert writer.figures() == LogFigures(waiting=0, dropped=2)
    writer.close()


def test_a_log_that_nothing_takes_ends_all_the_same() -> None:
    writer = held_up(TakesNothingYet())
    writer.close()
    assert writer._thread is not None
    writer._thread.join(GUARD_S)
    assert not writer._thread.is_alive()
