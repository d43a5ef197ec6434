"""``python -m benchmarks.export_choices``: the choices of export and engine that depend on a model's size.

Exports image models of ``keras.applications`` with random weights and a plain MLP, both frozen and with variables. Runs
them in the caller's thread and in TensorFlow's pool. Takes a few minutes; prints two Markdown tables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.memory import memory_kib
from serving.engines import tensorflow_c, tensorflow_library
from serving.engines.options import LoadOptions
from serving.engines.session import RunClock

_RUNS = 3


def _mlp(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(512, "relu"), layers.Dense(512, "relu"), layers.Dense(10, "softmax")]
    )


_MODELS: dict[str, Callable[[Any], Any]] = {
    "MLP 784-512-512-10": _mlp,
    "MobileNetV2": lambda keras: keras.applications.MobileNetV2(weights=None),
    "InceptionV3": lambda keras: keras.applications.InceptionV3(weights=None),
}


def _export(name: str, folder: Path, largest_frozen_bytes: int) -> None:
    import keras
    import tensorflow as tf

    from export import saved_model

    model = _MODELS[name](keras)
    saved_model._LARGEST_FROZEN_BYTES = largest_frozen_bytes
    saved_model.write(tf, model, saved_model.trace(tf, model, None), folder)


def _load(folder: Path) -> dict[str, float]:
    """Load and run once, then run warm in both ways, in turn; return seconds and MB. Needs a fresh process."""
    tensorflow_library.load_api()
    start = perf_counter()
    session = tensorflow_c.Session(folder, LoadOptions(is_optimized=folder.name == "frozen"))
    [(name, spec)] = session.signatures["serving_default"].inputs.items()
    feeds = {name: np.ones([size or 1 for size in spec.shape or ()], np.float32)}
    session.run("serving_default", feeds)
    figures = {"load": perf_counter() - start, **{key: kib / 1024 for key, kib in memory_kib().items()}}
    options: dict[str, Any] = {"caller": session._run_options, "pool": None}
    times: dict[str, list[float]] = {kind: [] for kind in options}
    deadline = perf_counter() + 5
    while perf_counter() < deadline and len(times["pool"]) < 2000:
        for kind, session._run_options in options.items():
            session.clocks["serving_default"] = RunClock()  # or the session would choose by the latest run
            begin = perf_counter()
            session.run("serving_default", feeds)
            times[kind].append(perf_counter() - begin)
    return figures | {kind: median(values) for kind, values in times.items()}


def main() -> None:
    """Export and measure every model, and print the tables."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    loads, runs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for name in tqdm(_MODELS, desc="measuring", unit="model"):
            row = {}
            for kind, limit in (("variables", 0), ("frozen", 1 << 30)):
                folder = Path(scratch) / name / kind
                _child("export", name, str(folder), str(limit))
                figures = [json.loads(_child("load", str(folder))) for _ in range(_RUNS)]
                row[kind] = {key: median(run[key] for run in figures) for key in figures[0]}
            loads.append(
                f"| {name} | {row['variables']['load']:.2f} s | {row['frozen']['load']:.2f} s "
                f"| {row['variables']['Anonymous']:.0f} MB | {row['frozen']['Anonymous']:.0f} MB |"
            )
            best = row["frozen"]
            runs.append(f"| {name} | {best['caller'] * 1e3:.3f} ms | {best['pool'] * 1e3:.3f} ms |")
    kinds = "variables | frozen and optimized"
    print(f"| model | load and first run: {kinds} | private memory: {kinds} |")
    print("|---|---:|---:|---:|---:|", *loads, sep="\n")
    print("\n| warm run, 1 row | caller's thread | TensorFlow's pool |")
    print("|---|---:|---:|", *runs, sep="\n")


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.export_choices", *arguments]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    ).stdout.decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["export"]:
        _export(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["load"]:
        print(json.dumps(_load(Path(sys.argv[2]))))
    elif sys.argv[1:]:
        print(__doc__)
    else:
        main()
