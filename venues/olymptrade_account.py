"""Which of a user's wallets is meant, and what its deals pay. Pure."""

from collections.abc import Callable

from venues import olymptrade_frames as frames
from venues.events import Balances, Send, Unknown, VenueEvent
from venues.olymptrade_envelope import OlympMessage, make_frame


class Account:
    """The account that one session asks payouts for: once, when the balances tell which there are.

    `wanted` is the settings' word for it: a number, or a group (`demo`, `real`).
    """

    def __init__(self, *, wanted: str | None, make_id: Callable[[], str]) -> None:
        self._wanted = wanted
        self._make_id = make_id
        self._has_asked = False

    def read(self, message: OlympMessage) -> list[VenueEvent]:
        """Return all balances; with the first, what asks for payouts.

        The asking is not recorded: from three independent clients' accounts.
        """
        balances = frames.read_balances(message.d)
        if self._has_asked or not balances.balances:
            return [balances]
        account = self._choose(balances)
        if account is None:
            return [balances, Unknown("balances without the account of the settings")]
        self._has_asked = True
        asked = make_frame(frames.PAYOUTS, [{"account_id": int(account)}], uuid=self._make_id())
        return [balances, Send((asked,))]

    def _choose(self, balances: Balances) -> str | None:
        """Return the account that the settings want, None where it is not there; else a demo account."""
        wanted = self._wanted or "demo"
        for balance in balances.balances:
            if wanted in (balance.account, balance.group):
                return balance.account
        return None if self._wanted else balances.balances[0].account
