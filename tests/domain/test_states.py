from open_hours import always_open

from domain.states import ConnectionRow, MarketRow


def row(*, subscribed_at: float | None, last_tick_at: float | None = None) -> MarketRow:
    return MarketRow(
        name="EURUSD@sim",
        symbol="EURUSD",
        venue="sim",
        stale_after_s=60.0,
        connection=ConnectionRow(name="sim/1", venue="sim"),
        hours=always_open(),
        subscribed_at=subscribed_at,
        last_tick_at=last_tick_at,
    )


def test_a_market_that_is_not_subscribed_is_never_stale() -> None:
    assert not row(subscribed_at=None, last_tick_at=0.0).is_stale(1e9)


def test_silence_counts_from_the_subscribing() -> None:
    silent = row(subscribed_at=100.0)
    assert (silent.is_stale(159.9), silent.is_stale(160.0)) == (False, True)


def test_silence_counts_from_the_last_datum() -> None:
    silent = row(subscribed_at=100.0, last_tick_at=130.0)
    assert (silent.is_stale(189.9), silent.is_stale(190.0)) == (False, True)


def test_a_datum_of_an_earlier_subscription_does_not_make_a_fresh_one_stale() -> None:
    assert not row(subscribed_at=100.0, last_tick_at=10.0).is_stale(159.0)
