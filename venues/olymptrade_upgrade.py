"""What Olymp Trade wants to see of a client at the upgrade. Pure."""

from urllib.parse import urlsplit

from venues.protocol import Upgrade

# What the client says it is: one of the versions seen in the field; older ones went on working.
CLIENT = (
    "cid_ver=1&cid_app=web%40OlympTrade%402026.3.2396554%402396554"
    "&cid_device=%40%40desktop&cid_os=linux%40none"
)
ORIGIN = "https://olymptrade.com"  # another, or two, are refused: `invalid_origin` (one client)
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

_NEW_TOKEN = "set a new one: marketd token set {venue}"  # noqa: S105 - says what to do
REFUSED_STATUSES = {
    401: f"the token is not taken; {_NEW_TOKEN}",
    403: f"the token, or where we say that we come from, is not taken; {_NEW_TOKEN}",
}
REFUSED_CLOSES = {1008: f"the token is invalid, expired or revoked; {_NEW_TOKEN}"}


def make_upgrade(address: str, token: str | None) -> Upgrade:
    """Return the address with who we are, and the headers without which nobody is let in."""
    headers = {"Origin": ORIGIN, "User-Agent": USER_AGENT}
    if token is not None:
        headers["Cookie"] = f"access_token={token}"
    return Upgrade(address if urlsplit(address).query else f"{address}?{CLIENT}", headers)
