"""Time zones by their names."""

import datetime
import zoneinfo


def zone_of(name: str) -> datetime.tzinfo:
    """Return a zone; UTC is there on systems without zone data too."""
    return datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
