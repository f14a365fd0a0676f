"""Who is logged in on one socket of the simulated Deriv, legacy dialect, and what the account holds."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from venues.simulated.deriv_answers import Failed, invalid

TOKEN_PATTERN = re.compile(r"[\w\-]{1,128}")
INVALID_TOKENS = ("invalid", "expired")  # how tokens begin that this venue does not take
LOGIN_ID = "VRTC1000001"
BALANCE = 10_000.0  # nobody trades here yet
CURRENCY = "USD"

Reply = Mapping[str, object]


class DerivAccount:
    """One socket's log-in, and its subscription of the balance."""

    def __init__(self) -> None:
        self.subscription = ""  # its id, "" where there is none
        self._is_in = False

    @property
    def subscriptions(self) -> int:
        """How many subscriptions of the socket are the account's."""
        return int(bool(self.subscription))

    def log_in(self, fields: Mapping[str, Any]) -> list[Reply]:
        """Answer `authorize`; raises `Failed` for a token that is not taken."""
        token = fields["authorize"]
        if not isinstance(token, str) or not TOKEN_PATTERN.fullmatch(token):
            raise invalid("authorize")
        if token.startswith(INVALID_TOKENS):
            raise Failed("InvalidToken", "The token is invalid.")
        self._is_in = True
        scopes = ["read", "trading_information"]
        who = {"loginid": LOGIN_ID, "is_virtual": 1, "user_id": 1, "scopes": scopes}
        return [{"authorize": {**who, "balance": BALANCE, "currency": CURRENCY}}]

    def tell_balance(self, fields: Mapping[str, Any], *, next_id: Callable[[], str]) -> list[Reply]:
        """Answer `balance`; raises `Failed` for who is not logged in, or subscribed it already."""
        if not self._is_in:
            raise Failed("AuthorizationRequired", "Please log in.")
        balance: dict[str, object] = {"balance": BALANCE, "currency": CURRENCY, "loginid": LOGIN_ID}
        if not fields.get("subscribe"):
            return [{"balance": balance}]
        if self.subscription:
            raise Failed("AlreadySubscribed", "You are already subscribed to balance.")
        self.subscription = next_id()
        return [{"balance": {**balance, "id": self.subscription}, "subscription": {"id": self.subscription}}]

    def forget(self) -> list[str]:
        """End the subscription; return its id, if there was one."""
        ended = [self.subscription] if self.subscription else []
        self.subscription = ""
        return ended
