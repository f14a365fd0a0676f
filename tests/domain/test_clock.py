import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.clock import as_text, now_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_now_is_the_wall_clock_in_microseconds() -> None:
    before, between, after = time.time_ns(), now_us(), time.time_ns()
    assert before // 1_000 <= between <= after // 1_000


@given(ts_us=st.integers(min_value=0, max_value=4_102_444_800_000_000))
def test_a_time_as_text_reads_back_as_itself(ts_us: int) -> None:
    assert datetime.fromisoformat(as_text(ts_us)) - EPOCH == timedelta(microseconds=ts_us)
