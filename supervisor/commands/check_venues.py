"""What `marketd check` finds out about venues without connecting to any."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from domain.clock import now_us
from domain.errors import PermanentError
from domain.token import Stage, duration_text, expiry_us, stage_of
from supervisor.commands.findings import Finding, doubtful, failed, good
from supervisor.settings import Settings
from supervisor.token_files import read_token, token_path
from venues import find_venue
from venues.protocol import TokenUse, Venue
from venues.settings import VenueSettings


def check_venues(settings: Settings, *, state: Path) -> Iterator[Finding]:
    """Yield what is to be said of each venue: its token, and whether what it offers can be used."""
    for name, section in settings.venues.items():
        venue = find_venue(section.protocol)
        if venue.token is not TokenUse.NONE:
            yield _check_token(name, section, venue=venue, state=state)
        if (venue.rest_listing or (venue.history and venue.history.rest)) and not _has_rest():
            what = (
                "gaps are not filled, and symbols not checked"
                if venue.rest_listing
                else "gaps are not filled"
            )
            yield doubtful(f"venue {name}", f"{what}: pip install 'marketd[rest]'")


def _check_token(name: str, section: VenueSettings, *, venue: Venue, state: Path) -> Finding:
    what, path = f"token {name}", token_path(state, venue=name, settings=section)
    try:
        token = read_token(path)
    except PermanentError as exc:
        return failed(what, str(exc))
    if token is None:
        if venue.token is TokenUse.OPTIONAL:
            return good(what, "none, and none is needed for prices")
        return failed(what, f"{path} is not there: `marketd token set {name}`")
    expires_us = expiry_us(token)
    if expires_us is None:
        return good(what, f"{path}: does not say when it expires")
    left = duration_text(max(0, expires_us - now_us()))
    match stage_of(expires_us, now_us=now_us()):
        case Stage.EXPIRED:
            return failed(what, f"{path}: has expired: `marketd token set {name}` with a new one")
        case Stage.FAR:
            return good(what, f"{path}: expires in {left}")
        case _:
            return doubtful(what, f"{path}: expires in {left}: `marketd token set {name}` with a new one")


def _has_rest() -> bool:
    return importlib.util.find_spec("httpcore") is not None
