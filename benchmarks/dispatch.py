"""``.venv-contract/bin/python -m benchmarks.dispatch``: an async or a sync ``main``, in Microsoft's worker runtime.

Compares the app's async functions with a sync ``main`` in the worker's thread pool, with one thread and with the
default number. Needs Python 3.13 (``make contract`` creates the environment). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.figures import ROOT
from tools.worker_host.functions_host import Request
from tools.worker_host.worker import Worker

_SYNC_MAIN = """
import azure.functions as func
from functools import cache
from serving.engines.session import load_session
from serving.settings import Settings
from serving.wire import x_labels

session = cache(lambda: load_session(Settings.from_environment().model_path / "{model}" / "1", "auto", True))


def main(req: func.HttpRequest) -> func.HttpResponse:
    feeds = x_labels.decode(req.get_body(), session().signatures[x_labels.SIGNATURE])
    fetches = session().run(x_labels.SIGNATURE, feeds)
    return func.HttpResponse(x_labels.encode(fetches), mimetype="application/json")
"""

_ASYNC_MAIN = """
import azure.functions as func
from serving.http import handle
from serving.endpoints.predict_x import PredictX

protocol = PredictX("{model}")


async def main(req: func.HttpRequest) -> func.HttpResponse:
    return await handle(req, protocol)
"""

_BODIES = {
    "xor": json.dumps({"X": [[1, 0], [1, 1]]}),
    "mlp": json.dumps({"X": [[0.5] * 784]}),
}
_AT_ONCE = 16


def write_app(folder: Path, models: Iterable[str]) -> None:
    """Write a function app with a sync and an async function for each model, named Sync<model> and Async<model>."""
    for name in ("serving", "host.json"):
        (folder / name).symlink_to(ROOT / name)
    for model in models:
        for kind, code in (("Sync", _SYNC_MAIN), ("Async", _ASYNC_MAIN)):
            function = folder / f"{kind}{model}"
            function.mkdir()
            shutil.copy(ROOT / "PredictXor" / "function.json", function)
            (function / "__init__.py").write_text(code.replace("{model}", model), encoding="utf-8")


def _measure(app: Path, name: str, body: str, environment: dict[str, str], seconds: float) -> tuple[float, float]:
    """Return p50 of sequential requests in microseconds, and requests/s with sixteen concurrent ones."""
    request = Request("POST", headers={"Content-Type": "application/json"}, body=body.encode())
    with Worker(app, environment) as worker:
        worker.load(name)
        for _ in range(50):
            worker.requests(name, [request])
        times = []
        deadline = perf_counter() + seconds
        while perf_counter() < deadline:
            start = perf_counter()
            worker.requests(name, [request])
            times.append(perf_counter() - start)
            worker.logs.clear()
        count, start = 0, perf_counter()
        while perf_counter() < start + seconds:
            count += len(worker.requests(name, [request] * _AT_ONCE))
            worker.logs.clear()
        return median(times) * 1e6, count / (perf_counter() - start)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dispatch", description=__doc__)
    parser.add_argument("models", type=Path, help="a model folder with xor/1 and mlp/1 (784 inputs), both exported")
    parser.add_argument("--seconds", type=float, default=3, help="duration of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    cases = [
        ("async, on the event loop", "Async", {}),
        ("async, without batches", "Async", {"SERVING_BATCH_ROWS": "0"}),
        ("sync, default threads", "Sync", {}),
        ("sync, one thread", "Sync", {"PYTHON_THREADPOOL_THREAD_COUNT": "1"}),
    ]
    print("| model | `main` | p50, µs | requests/s, 16 at a time |\n|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        app = Path(scratch)
        write_app(app, _BODIES)
        for model, body in _BODIES.items():
            runs: dict[str, list[tuple[float, float]]] = {title: [] for title, _, _ in cases}
            for _ in range(options.rounds):
                for title, kind, environment in cases:
                    settings = {**environment, "SERVING_MODEL_PATH": str(options.models.resolve())}
                    figures = _measure(app, f"{kind}{model}", body, settings, options.seconds)
                    runs[title].append(figures)
                    print(f"{model}, {title}: {figures}", file=sys.stderr)
            for title, figures_of in runs.items():
                p50, throughput = (median(values) for values in zip(*figures_of, strict=True))
                print(f"| {model} | {title} | {p50:,.0f} | {throughput:,.0f} |")


if __name__ == "__main__":
    main()
