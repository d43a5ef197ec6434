"""Runs that take long, or much memory."""

from __future__ import annotations

from benchmarks.attack import models
from benchmarks.attack.case import Case, Target

_RUN = "v1/models/{}:predict"


async def _count_on(target: Target) -> None:
    path = _RUN.format("counting")
    for _ in range(3):
        await target.send("POST", path, json={"instances": [[1, 0]]})
    await target.send("POST", path, json={"instances": [[1e9, 0]]}, expect=(503,))
    await target.send("GET", "health/live")


CASES = [
    Case("a loop that a value drives", models.counting, _count_on, {"SERVING_RUN_SECONDS": "5"}),
]
