"""When to try again what has failed: after 5 s, and twice as long after each further failure, up to 5 minutes."""

from __future__ import annotations

from time import monotonic

_FIRST_SECONDS = 5.0
_MOST_SECONDS = 300.0


class Backoff:
    """Counts failures, and says how long to wait after the latest."""

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS
        self._until = 0.0

    def fail(self) -> None:
        """Record a failure."""
        self._until = monotonic() + self._seconds
        self._seconds = min(2 * self._seconds, _MOST_SECONDS)

    def seconds_left(self) -> float:
        """Return the seconds until the next try; 0 where that is now."""
        return max(0.0, self._until - monotonic())
