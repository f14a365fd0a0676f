import pytest
from dealing import gap_of, us

from domain.gaps import Gap
from supervisor.backtest_report import coverage


@pytest.mark.parametrize(
    ("gaps", "missing_s", "rest_s", "count"),
    [
        ([], 0, 0, 0),
        ([gap_of(110, 120)], 10, 0, 1),
        ([gap_of(90, 120), gap_of(190, 300)], 30, 0, 2),  # only what lies inside
        ([gap_of(10, 90), gap_of(200, 300)], 0, 0, 0),
        ([gap_of(110, 130), gap_of(120, 140, "stale")], 30, 0, 2),  # what overlaps counts once
        ([gap_of(110, 130), gap_of(120, 140, "closed")], 30, 20, 1),  # a closed market hides nothing
        ([Gap("EURUSD@sim", us(150), None, "disconnect")], 50, 0, 1),
    ],
)
def test_what_is_missing_counts_once(gaps: list[Gap], missing_s: int, rest_s: int, count: int) -> None:
    found = coverage(gaps, from_us=us(100), to_us=us(200))
    assert (found.missing_us, found.rest_us, found.gaps) == (us(missing_s), us(rest_s), count)


def test_a_market_at_rest_is_not_unseen() -> None:
    found = coverage([gap_of(100, 150, "closed"), gap_of(150, 175)], from_us=us(100), to_us=us(200))
    assert found.seen == pytest.approx(0.5)
