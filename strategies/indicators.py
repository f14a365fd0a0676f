"""Indicators of closing prices, a price at a time, in constant memory.

They agree with TA-Lib's to 1e-9, where TA-Lib has a value; see tests/strategies/test_indicators.py.
"""


class Ema:
    """Exponential moving average, weight 2 / (period + 1), begun by the mean of the first `period` prices."""

    __slots__ = ("_count", "_period", "_value")

    def __init__(self, *, period: int) -> None:
        self._period = period
        self._count = 0
        self._value = 0.0

    def add(self, price: float) -> float | None:
        """Take a price; return the average, None for the first `period` - 1 prices."""
        self._count += 1
        if self._count > self._period:
            self._value += (price - self._value) * (2.0 / (self._period + 1))
            return self._value
        self._value += price / self._period
        return self._value if self._count == self._period else None


class Rsi:
    """Wilder's relative strength index, 0 to 100 (New Concepts in Technical Trading Systems, 1978).

    Begun by the mean gain and loss of the first `period` changes; each later change counts 1 / period.
    Where nothing has moved at all it is 50, and not TA-Lib's 0, which would read as a fall.
    """

    __slots__ = ("_count", "_gain", "_loss", "_period", "_price")

    def __init__(self, *, period: int) -> None:
        self._period = period
        self._count = -1  # changes so far; the first price makes none
        self._price = self._gain = self._loss = 0.0

    def add(self, price: float) -> float | None:
        """Take a price; return the index, None for the first `period` prices."""
        change, self._price = price - self._price, price
        self._count += 1
        if self._count == 0:
            return None
        period = self._period
        gain, loss = max(change, 0.0), max(-change, 0.0)
        if self._count <= period:
            self._gain += gain / period
            self._loss += loss / period
        else:
            self._gain += (gain - self._gain) / period
            self._loss += (loss - self._loss) / period
        return self._value() if self._count >= period else None

    def _value(self) -> float:
        total = self._gain + self._loss
        return 100.0 * (self._gain / total) if total > 0.0 else 50.0
