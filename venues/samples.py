"""How much of what a venue sends is shown to people. Pure."""

MOST_LETTERS = 40  # of a name that a venue chooses
MOST_REASON = 200  # letters of a reason that it gives
MOST_SAMPLE = 200  # of a frame


def sample(frame: str | bytes) -> str:
    """Return as much of a frame as a message shows."""
    return repr(frame[:MOST_SAMPLE])


def short(reason: str) -> str:
    """Return as much of a venue's reason as is kept."""
    return reason[:MOST_REASON]
