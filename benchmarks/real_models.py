"""``python -m benchmarks.real_models``: MobileNetV2, ResNet50, an LSTM and an MLP, in each engine and in the naive app.

Calls ``main(req)`` without HTTP, in a fresh process for each app and model. Measures the time from the function's
import to the first answer, warm latency, requests/s with eight concurrent requests, and memory. Writes
``docs/real_models.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import azure.functions as func
import numpy as np
from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.memory import memory_kib
from benchmarks.report import machine
from serving.models.export_record import ExportRecord

_AT_ONCE = 8
_SECONDS = 4.0
_ROWS = {"mobilenet": 1, "resnet": 1, "lstm": 1, "mlp": 32}
_TITLES = {
    "mlp": "MLP 784-512-512-10, 32 rows",
    "lstm": "LSTM(64) over 64 steps of 16, 1 row",
    "mobilenet": "MobileNetV2, 1 image",
    "resnet": "ResNet50, 1 image",
}

# The app with the engine that the export chose, the app with TensorFlow, and the naive app.
_APPS = ("auto", "tensorflow", "naive")

Answer = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def _model(name: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    if name == "mobilenet":
        return keras.applications.MobileNetV2(weights=None)
    if name == "resnet":
        return keras.applications.ResNet50(weights=None)
    if name == "lstm":
        return keras.Sequential([keras.Input((64, 16)), layers.LSTM(64), layers.Dense(4, "softmax")])
    hidden = [layers.Dense(512, "relu"), layers.Dense(512, "relu")]
    return keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10, "softmax")])


def _export(name: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    _model(name).save(folder / "model.keras")
    subprocess.run([sys.executable, "-m", "export", str(folder)], cwd=ROOT, check=True)


def _engine(folder: Path) -> str:
    return "LiteRT" if ExportRecord.read(folder).litert else "TensorFlow"


def _request(name: str) -> func.HttpRequest:
    shape = {"mobilenet": (224, 224, 3), "resnet": (224, 224, 3), "lstm": (64, 16), "mlp": (784,)}[name]
    rows = np.random.default_rng(0).random((_ROWS[name], *shape)).round(3)
    return func.HttpRequest(
        method="POST",
        url="https://app/api/Predict",
        headers={"content-type": "application/json"},
        params={},
        route_params={},
        body=json.dumps({"X": rows.tolist()}).encode(),
    )


def _ours(name: str) -> Answer:
    from serving.endpoints.predict_x import PredictX
    from serving.http import handle

    protocol = PredictX(name)
    return lambda request: handle(request, protocol)


def _naive(name: str) -> Answer:
    import keras

    model = keras.models.load_model(Path(os.environ["SERVING_MODEL_PATH"]) / name / "1" / "model.keras")
    # The number of threads in Azure's worker by default.
    pool = ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4))

    def main(request: func.HttpRequest) -> func.HttpResponse:
        labels = model.predict(np.array(request.get_json()["X"], np.float32), verbose=0)
        return func.HttpResponse(json.dumps({"labels": labels.tolist()}), mimetype="application/json")

    return lambda request: asyncio.get_running_loop().run_in_executor(pool, main, request)


async def _measure(app: str, name: str) -> dict[str, float]:
    request = _request(name)
    start = perf_counter()
    answer = (_naive if app == "naive" else _ours)(name)
    _check(await answer(request))
    figures: dict[str, float] = {"cold": perf_counter() - start, **memory_kib()}
    times: list[float] = []
    deadline = perf_counter() + _SECONDS
    while perf_counter() < deadline or len(times) < 5:
        start = perf_counter()
        _check(await answer(request))
        times.append(perf_counter() - start)
    figures |= {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}
    return figures | {"throughput": await _throughput(answer, request), "resident": memory_kib()["Rss"]}


async def _throughput(answer: Answer, request: func.HttpRequest) -> float:
    start = perf_counter()

    async def client() -> int:
        count = 0
        while perf_counter() < start + _SECONDS:
            _check(await answer(request))
            count += 1
            await asyncio.sleep(0)  # let the loop turn, as between requests from a network
        return count

    counts = await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    return sum(counts) / (perf_counter() - start)


def _check(response: func.HttpResponse) -> None:
    if response.status_code != 200:
        raise SystemExit(f"Wrong answer: {response.get_body()!r}")


def _child(app: str, name: str, folder: Path) -> dict[str, float]:
    environment = {**os.environ, "SERVING_MODEL_PATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"SERVING_ENGINE": app} if app != "naive" else {}
    command = [sys.executable, "-m", "benchmarks.real_models", "--child", app, name]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _line(title: str, runs: Mapping[str, list[dict[str, float]]]) -> str:
    def cell(figure: str, scale: float, digits: int) -> str:
        values = (median(run[figure] for run in runs[app]) * scale for app in _APPS)
        return " / ".join(f"{value:,.{digits}f}" for value in values)

    cells = [
        cell("cold", 1, 2),
        cell("p50", 1e3, 2),
        cell("p99", 1e3, 2),
        cell("throughput", 1, 0),
        cell("Anonymous", 1 / 1024, 0),
        cell("resident", 1 / 1024, 0),
    ]
    return f"| {title} | " + " | ".join(cells) + " |"


def _report(lines: list[str], rounds: int) -> str:
    return "\n".join(
        [
            "# Real models",
            "",
            "For anyone with a larger model: this app / this app with `SERVING_ENGINE=tensorflow` / the naive app "
            "(`keras.models.load_model`, `model.predict`). All are called as `main(req)` without HTTP, with JSON in "
            "and out and random weights. The first uses the engine that [the export chose](engines.md).",
            "",
            f"| model | cold start, s | p50, ms | p99, ms | requests/s, {_AT_ONCE} at a time | private memory after "
            "the first answer, MB | resident at the end, MB |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *lines,
            "",
            f"Medians of {rounds} rounds, each in fresh processes with a warm page cache. {machine()}. Measured with "
            "`python -m benchmarks.real_models`.",
            "",
        ]
    )


def main() -> None:
    """Measure all models and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_models", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "real_models.md", help="default: %(default)s")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(asyncio.run(_measure(*options.child))))
        return
    lines = []
    with tempfile.TemporaryDirectory() as scratch, tqdm(total=len(_TITLES) * options.rounds * len(_APPS)) as progress:
        for name in _TITLES:
            _export(name, Path(scratch) / name / "1")
            runs: dict[str, list[dict[str, float]]] = {app: [] for app in _APPS}
            for _ in range(options.rounds):
                for app, figures in runs.items():
                    progress.set_description(f"{name}, {app}")
                    figures.append(_child(app, name, Path(scratch)))
                    progress.update()
            lines.append(_line(f"{_TITLES[name]}: {_engine(Path(scratch) / name / '1')}", runs))
    options.output.write_text(_report(lines, options.rounds), encoding="utf-8")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
