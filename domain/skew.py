"""How far our clock is from a venue's."""

import attrs


@attrs.define(eq=False)
class ClockSkew:
    """Replaced by its real implementation."""

    skew_ms: float | None = None

    def heard(self, *, server_us: int, resolution_us: int, sent_us: int | None, received_us: int) -> None:
        """Take note of the venue's clock."""
