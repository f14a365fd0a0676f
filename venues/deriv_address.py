"""Where Deriv is, by dialect, and which settings that takes."""

import re
from urllib.parse import urlencode, urlsplit, urlunsplit

from domain.errors import ConfigError, PermanentError
from venues.protocol import Upgrade
from venues.settings import VenueSettings

NEW_URL = "wss://api.derivws.com/trading/v1/options/ws/public"
LEGACY_URL = "wss://ws.derivws.com/websockets/v3"
LEGACY = "legacy"
APP_ID_PATTERN = re.compile(r"[A-Za-z0-9]{1,64}")


def check_settings(settings: VenueSettings) -> None:
    """Raise `ConfigError` naming the key that is missing or wrong for the dialect."""
    if settings.dialect != LEGACY:
        return
    if settings.app_id is None:
        raise ConfigError('dialect = "legacy" needs app_id: the id of an application registered with Deriv')
    if not APP_ID_PATTERN.fullmatch(settings.app_id):
        raise ConfigError(f"app_id {settings.app_id!r} is not an application's id")


def make_upgrade(settings: VenueSettings, token: str | None) -> Upgrade:
    """Return where to connect; the token is sent on the socket, or not at all.

    Raises `PermanentError` where the dialect lacks its `app_id`.
    """
    is_legacy = settings.dialect == LEGACY
    own = urlsplit(LEGACY_URL if is_legacy else NEW_URL)
    parts = own if settings.url is None else urlsplit(settings.url)
    if parts.path in ("", "/"):
        parts = parts._replace(path=own.path)
    if is_legacy and "app_id=" not in parts.query:
        try:
            check_settings(settings)
        except ConfigError as exc:
            raise PermanentError(str(exc)) from exc
        query = urlencode({"app_id": settings.app_id})
        parts = parts._replace(query=f"{parts.query}&{query}" if parts.query else query)
    return Upgrade(urlunsplit(parts), {})
