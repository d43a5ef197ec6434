"""``python -m benchmarks.probe ours 0``: imports one app in this process, calls it, and measures time and memory.

``benchmarks.figures`` runs it. Prints one line of JSON with times in seconds and memory in KiB.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
from collections.abc import Callable
from time import perf_counter, time
from typing import Any

import azure.functions as func

from benchmarks.memory import memory_kib

# The worker imports azure.functions before it loads a function; so does this module.
APPS = {"ours": "PredictXor", "naive": "benchmarks.naive_app"}

_BODY = b'{"X": "1 0|1 1"}'


def _request() -> func.HttpRequest:
    return func.HttpRequest(
        method="POST",
        url="https://app.azurewebsites.net/api/PredictXor",
        headers={"content-type": "application/json"},
        params={},
        route_params={},
        body=_BODY,
    )


def _check(response: func.HttpResponse) -> None:
    [[one], [other]] = json.loads(response.get_body())["labels"]
    if not (one > 0.95 and other < 0.05):
        raise SystemExit(f"Wrong answer: {response.get_body()!r}")


async def _percentiles(main: Callable[[func.HttpRequest], Any], calls: int) -> dict[str, float]:
    times = []
    for _ in range(calls):
        request = _request()
        start = perf_counter()
        await _answer(main, request)
        times.append(perf_counter() - start)
        await asyncio.sleep(0)  # let the loop turn, as between requests from a network
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


async def _answer(main: Callable[[func.HttpRequest], Any], request: func.HttpRequest) -> func.HttpResponse:
    answer = main(request)
    return await answer if inspect.isawaitable(answer) else answer


async def main(app: str, warm_calls: int) -> None:
    """Import the app's function, call it once, then ``warm_calls`` times, and print the measurements."""
    start = perf_counter()
    function = importlib.import_module(APPS[app]).main
    _check(await _answer(function, _request()))
    # answered_at is wall-clock time: the parent subtracts the time at which it spawned this process.
    figures: dict[str, object] = {"answered_at": time(), "import_to_answer": perf_counter() - start, **memory_kib()}
    if warm_calls:
        figures |= await _percentiles(function, warm_calls)
    print(json.dumps(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe", description=__doc__)
    parser.add_argument("app", choices=APPS)
    parser.add_argument("warm_calls", type=int, help="calls to time after the first one")
    options = parser.parse_args()
    asyncio.run(main(options.app, options.warm_calls))
