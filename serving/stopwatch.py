"""How long the parts of a request take."""

from __future__ import annotations

from time import perf_counter


class Stopwatch:
    """Times one request's parts, one after the other; ``laps`` holds milliseconds by part, in their order."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, part: str) -> None:
        """End a part that began with the one before it."""
        now = perf_counter()
        self.laps[part] = (now - self._last) * 1e3
        self._last = now

    def server_timing(self) -> str:
        """Return the laps as a Server-Timing header's value (www.w3.org/TR/server-timing)."""
        return ", ".join([f"{part};dur={milliseconds:.3f}" for part, milliseconds in self.laps.items()])
