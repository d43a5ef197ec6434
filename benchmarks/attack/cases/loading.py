"""Models that are looked at, loaded, refused and deleted."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

from benchmarks.attack import models
from benchmarks.attack.case import Case, Target

# local.settings.json names another default.
_SMALL = {"SERVING_DEFAULT_MODEL": "small0"}

_ROWS = {"instances": [[1, 2]]}


async def _look(target: Target) -> None:
    for path in ("health", "openapi.json", "v2/repository/index", "v2", "v2/models/small7/ready", "v2/models/small7"):
        await target.send_all(20, "GET", path)
    await target.send_all(20, "GET", "v1/models/small8/metadata")
    states = (await target.client.get("health")).json()["models"]
    loaded = [name for name, versions in states.items() if "AVAILABLE" in versions.values()]
    target.check(loaded == ["small0"], f"loaded: {loaded}")


async def _load_all(target: Target) -> None:
    for number in range(200):
        response = await target.send("POST", f"v1/models/small{number}:predict", json=_ROWS)
        target.check(response is not None and response.json() == {"predictions": [[3]]}, "a sum")


async def _load_more_than_fits(target: Target) -> None:
    rows = {"inputs": [[0.0] * (100 * 2**18 // 1024)]}
    for _ in range(2):
        for number in range(10):
            await target.send("POST", f"v1/models/weighty{number}:predict", json=rows)


async def _load_what_cannot_fit(target: Target) -> None:
    for response in await target.send_all(50, "POST", "v1/models/weighty0:predict", json=_ROWS, expect=(503,)):
        target.check(response is not None and "of memory" in response.text, "the reason")


async def _probe_refused(target: Target) -> None:
    answers = await target.send_all(200, "GET", "health", expect=(503,))
    target.check(all(answer is not None and int(answer.headers["Retry-After"]) > 0 for answer in answers), "when")


async def _wait_for_loads(target: Target) -> None:
    waiting = asyncio.create_task(
        target.send_all(150, "POST", "v1/models/weighty0:predict", json={"inputs": [[0]]}, expect=(400,))
    )
    await asyncio.sleep(0.05)
    for _ in range(20):
        start = asyncio.get_running_loop().time()
        await target.send("GET", "v1/models/none", expect=(404,))
        seconds = asyncio.get_running_loop().time() - start
        target.check(seconds < 0.5, f"a 404 took {seconds:.2f} s")
    await waiting


async def _delete(target: Target) -> None:
    path = "v1/models/small0:predict"
    await target.send("POST", path, json=_ROWS)
    shutil.copytree(target.models / "small0" / "1", target.models / "small0" / "2")
    await _until(target, path, "small0/2")
    shutil.rmtree(target.models / "small0" / "2")
    await _until(target, path, "small0/1")
    shutil.rmtree(target.models / "small0")
    await _until(target, path, None)
    await target.send("GET", "health", expect=(503,))


async def _until(target: Target, path: str, model: str | None) -> None:
    """Send predictions until this model answers, or none."""
    for _ in range(100):
        response = await target.send("POST", path, json=_ROWS, expect=(200, 404))
        if response is None or response.headers.get("X-Model") == model:
            return
        await asyncio.sleep(0.1)
    target.check(False, f"{model} never answered")


def _refused(folder: Path) -> None:
    models.small(folder, 1)
    graph = folder / "small0" / "1" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])


CASES = [
    Case("looking at 50 models", partial(models.small, count=50), _look, {"SERVING_HEALTH_DETAILS": "1", **_SMALL}),
    Case("loading 200 models", partial(models.small, count=200), _load_all),
    Case("loading ten models of 100 MB", partial(models.weighty, count=10, megabytes=100), _load_more_than_fits),
    Case(
        "50 requests for a model that cannot fit",
        partial(models.weighty, count=1, megabytes=400),
        _load_what_cannot_fit,
        memory_mb=512,
    ),
    Case("200 probes of a refused default model", _refused, _probe_refused, _SMALL),
    Case("150 requests that wait for a load", partial(models.weighty, count=1, megabytes=60), _wait_for_loads),
    Case(
        "a version, then the model deleted",
        partial(models.small, count=1),
        _delete,
        {"SERVING_POLL_SECONDS": "0.5", **_SMALL},
    ),
]
