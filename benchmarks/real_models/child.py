"""``python -m benchmarks.real_models.child APP FOLDER NAME``: measures one app with one model in this process.

Prints one line of JSON with times in seconds and memory in KiB. Runs in the environment of ONNX Runtime, too, so only
the apps import what they need.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.memory import memory_kib

_AT_ONCE = 8
_SECONDS = 1.5
_LEAST_CALLS = 5

Answer = Callable[[bytes], Awaitable[bytes]]


def _request(body: bytes) -> Any:
    import azure.functions as func

    headers = {"content-type": "application/json"}
    return func.HttpRequest("POST", "https://app/api/Predict", headers=headers, params={}, route_params={}, body=body)


def _ours(_: Path, name: str) -> Answer:
    from serving.endpoints.predict_x import PredictX
    from serving.http import handle

    endpoint = PredictX(name)

    async def answer(body: bytes) -> bytes:
        response = await handle(_request(body), endpoint)
        assert response.status_code == 200, response.get_body()
        return response.get_body()

    return answer


def _naive(folder: Path, name: str) -> Answer:
    import azure.functions as func
    import keras
    import numpy as np

    model = keras.models.load_model(folder / name / "1" / "model.keras")

    def main(request: func.HttpRequest) -> func.HttpResponse:
        labels = model.predict(np.array(request.get_json()["X"], np.float32), verbose=0)
        return func.HttpResponse(json.dumps({"labels": labels.tolist()}), mimetype="application/json")

    return _in_threads(lambda body: main(_request(body)).get_body())


def _onnx(folder: Path, name: str) -> Answer:
    import numpy as np
    import onnxruntime  # type: ignore[import-not-found]  # in an environment of its own
    import orjson

    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    source, *others = session.get_inputs()
    if others:
        raise SystemExit(f"The conversion has made constants into inputs: {', '.join(one.name for one in others)}")

    def main(body: bytes) -> bytes:
        [labels] = session.run(None, {source.name: np.array(orjson.loads(body)["X"], np.float32)})
        return orjson.dumps({"labels": labels}, option=orjson.OPT_SERIALIZE_NUMPY)

    return _in_threads(main)


def _in_threads(main: Callable[[bytes], bytes]) -> Answer:
    # The number of threads in Azure's worker by default.
    pool = ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4))
    return lambda body: asyncio.get_running_loop().run_in_executor(pool, main, body)


APPS = {"auto": _ours, "tensorflow": _ours, "naive": _naive, "onnx": _onnx}


async def _measure(app: str, folder: Path, name: str) -> dict[str, float]:
    body = (folder / f"{name}.json").read_bytes()
    start = perf_counter()
    answer = APPS[app](folder, name)
    await answer(body)
    figures: dict[str, float] = {"cold": perf_counter() - start, "private": memory_kib()["Anonymous"]}
    times: list[float] = []
    deadline = perf_counter() + _SECONDS
    while perf_counter() < deadline or len(times) < _LEAST_CALLS:
        start = perf_counter()
        await answer(body)
        times.append(perf_counter() - start)
    figures["p50"] = sorted(times)[len(times) // 2]
    return figures | {"rate": await _rate(answer, body), "resident": memory_kib()["Rss"]}


async def _rate(answer: Answer, body: bytes) -> float:
    """Return the requests/s with several at a time."""
    start = perf_counter()

    async def client() -> int:
        count = 0
        while perf_counter() < start + _SECONDS:
            await answer(body)
            count += 1
            await asyncio.sleep(0)  # let the loop turn, as between requests from a network
        return count

    counts = await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    return sum(counts) / (perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1] != "onnx":
        import azure.functions  # noqa: F401  # which the worker imports before it loads a function
    print(json.dumps(asyncio.run(_measure(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))))
