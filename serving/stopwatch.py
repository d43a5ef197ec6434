"""Measures the parts of a request."""

from __future__ import annotations

from time import perf_counter


class Stopwatch:
    """Times the consecutive parts of a request; ``laps`` has the milliseconds of each part, in order."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, part: str) -> None:
        """End a part, which began when the previous one ended."""
        now = perf_counter()
        self.laps[part] = (now - self._last) * 1e3
        self._last = now

    def server_timing(self) -> str:
        """Return the laps as the value of a Server-Timing header (www.w3.org/TR/server-timing)."""
        return ", ".join([f"{part};dur={milliseconds:.3f}" for part, milliseconds in self.laps.items()])
