"""The fence round a strategy in a backtest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from domain.clock import as_text
from strategies.desk import Seat
from supervisor.supervise import failure_of, words_of


def set_aside_at_fault(seat: Seat, method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a strategy; one that fails is set aside. However slow it is, here it delays nobody."""
    results: list[Any] = []
    failure = failure_of(lambda: results.append(method(*arguments)))
    if failure is None:
        return results[0]
    at_us = seat.view.ts_us
    seat.set_aside = f"at {as_text(at_us)}: {type(failure).__name__}: {words_of(failure)}{_place_of(failure)}"
    return None


def _place_of(failure: BaseException) -> str:
    """Return the last place in the code that an exception passed."""
    step, place = failure.__traceback__, ""
    while step is not None:
        place = f" ({Path(step.tb_frame.f_code.co_filename).name} line {step.tb_lineno})"
        step = step.tb_next
    return place
