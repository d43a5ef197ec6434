"""Models that are looked at, loaded, refused and deleted."""

from __future__ import annotations

from functools import partial

from benchmarks.attack import models
from benchmarks.attack.case import Case, Target


async def _look(target: Target) -> None:
    for path in ("health", "openapi.json", "v2/repository/index", "v2", "v2/models/small7/ready"):
        await target.send_all(20, "GET", path)


CASES = [
    Case("looking at 50 models", partial(models.small, count=50), _look),
]
