"""Ids of requests like the web client's: base 36, the time in milliseconds first. Pure."""

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TIME_DIGITS = 8  # of milliseconds: until 2059
COUNT_DIGITS = 10  # random at the web client; a counter does as well


class Ids:
    """Makes ids that no other session has, as long as no two start in one millisecond."""

    def __init__(self, *, started_us: int) -> None:
        self._start = _base36(started_us // 1_000, digits=TIME_DIGITS)
        self._made = 0

    def make(self) -> str:
        """Return the next one: `MSQG5D9N0000000001`."""
        self._made += 1
        return self._start + _base36(self._made, digits=COUNT_DIGITS)


def _base36(number: int, *, digits: int) -> str:
    """Return its last so many digits."""
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return text
