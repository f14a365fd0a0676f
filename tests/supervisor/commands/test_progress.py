"""What the commands share that move a whole database."""

import pytest

from domain.errors import PermanentError
from supervisor.commands.progress import disk_errors


def test_what_the_disk_refuses_is_an_error_that_names_the_file() -> None:
    with pytest.raises(PermanentError, match=r"^/x/y: No space left on device$"), disk_errors():
        raise OSError(28, "No space left on device", "/x/y")


def test_a_reader_that_has_seen_enough_is_no_error_of_the_disk() -> None:
    with pytest.raises(BrokenPipeError), disk_errors():
        raise BrokenPipeError(32, "Broken pipe")
