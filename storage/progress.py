"""What a bounded piece of work says at its end."""

import enum


class Progress(enum.Enum):
    """Whether there is more to do."""

    MORE = "more"
    DONE = "done"
    LATER = "later"  # somebody is in the way; nothing is wrong with the database
