"""Runs that take long, or much memory."""

from __future__ import annotations

import asyncio

from benchmarks.attack import models
from benchmarks.attack.case import Case, Target

_SECONDS = {"SERVING_RUN_SECONDS": "3"}


async def _count_on(target: Target) -> None:
    path = "v1/models/counting:predict"
    for _ in range(3):
        await target.send("POST", path, json={"instances": [[1, 0]]})
    # A float32 stops at 2 ** 24, so the loop never ends.
    await target.send_all(20, "POST", path, json={"instances": [[1e9, 0]]}, expect=(503,))
    await target.send("POST", path, json={"instances": [[1, 0]]})
    asyncio.get_running_loop().create_task(target.client.post(path, json={"instances": [[1e9, 0]]}))
    await asyncio.sleep(0.5)


async def _long_sequence(target: Target) -> None:
    path = "v1/models/recurrent:predict"
    for _ in range(3):
        await target.send("POST", path, json={"instances": [[[0.5]]]})
    steps = [[0.5]] * 460_000
    await target.send("POST", path, json={"instances": [steps]}, expect=(200, 503))


async def _allocate(target: Target) -> None:
    path = "v1/models/growing:predict"
    for _ in range(3):
        await target.send("POST", path, json={"instances": [[1, 0]]})
    await target.send_all(5, "POST", path, json={"instances": [[1e13, 0]]}, expect=(400, 500, 503))


CASES = [
    Case("a loop that a value drives", models.counting, _count_on, _SECONDS),
    Case("a sequence of 2.8 MB for an LSTM", models.recurrent, _long_sequence, _SECONDS),
    Case("an output of 40 TB", models.growing, _allocate, _SECONDS),
]
