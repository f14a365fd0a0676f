"""The registry of built-in strategies. Each is imported when it is first asked for."""

from collections.abc import Mapping

# kind: its module here, and the class in it
BUILT_IN: Mapping[str, tuple[str, str]] = {
    "rsi": ("strategies.rsi", "RsiReversal"),
    "ema_cross": ("strategies.ema_cross", "EmaCross"),
    "streak": ("strategies.streak", "Streak"),
}
