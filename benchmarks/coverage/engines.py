"""``python -m benchmarks.coverage.engines``: which engine serves each layer and architecture of Keras 3, and why.

Exports the models of docs/coverage.md with random weights, as ``python -m export`` does. --save writes
docs/engine_coverage.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.coverage import layers, models
from benchmarks.coverage.case import Case, one_line, perturb
from benchmarks.figures import ROOT
from benchmarks.report import machine

_PARTS: dict[str, Callable[[Any], Mapping[str, Case | str]]] = {
    "layers": layers.cases,
    "combinations": models.combinations,
    "applications": models.applications,
}
_RESULTS = ROOT / "dist" / "engines.json"
_LITERT = "served by LiteRT"
_PAGE = ROOT / "docs" / "engine_coverage.md"


def main() -> None:
    """Export the chosen models, each part in turn; print the engine of each."""
    options = _parser().parse_args()
    results = json.loads(_RESULTS.read_text(encoding="utf-8")) if _RESULTS.exists() else {}
    keras = __import__("keras")
    for part in [] if options.report else [part for part in _PARTS if getattr(options, part)] or _PARTS:
        names = [name for name, case in _PARTS[part](keras).items() if isinstance(case, Case)]
        left = [name for name in names if not (options.missing and f"{part}/{name}" in results)]
        for name in tqdm(left, desc=part):
            results[f"{part}/{name}"] = line = _tried(part, name)
            tqdm.write(f"{part}/{name}: {line}")
            _RESULTS.parent.mkdir(exist_ok=True)
            _RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.save:
        _PAGE.write_text(_markdown(results), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage.engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for part in _PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=f"only {part}, and others named so")
    parser.add_argument("--missing", action="store_true", help="only models without a result")
    parser.add_argument("--report", action="store_true", help="export nothing")
    parser.add_argument("--save", action="store_true", help="write docs/engine_coverage.md")
    return parser


_pool: ProcessPoolExecutor | None = None


def _tried(part: str, name: str) -> str:
    """Export one model in a child process, which a few small models share."""
    global _pool
    at_once = 1 if part == "applications" else 12
    _pool = _pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _quiet, max_tasks_per_child=at_once)
    try:
        return _pool.submit(_export, part, name).result()
    except BrokenProcessPool:
        _pool = None
        return "the export's process died"


def _quiet() -> None:
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="1")  # as ``python -m export`` does
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)


def _export(part: str, name: str) -> str:
    import keras

    from export import install

    case = _PARTS[part](keras)[name]
    assert isinstance(case, Case)
    keras.utils.set_random_seed(0)
    try:
        model = case.build(keras)
        perturb(model)
        with tempfile.TemporaryDirectory() as folder:
            return install.export(model, keras.__version__, [], Path(folder)).engine
    except Exception as error:
        return f"not exported: {one_line(error)}"


def _markdown(results: Mapping[str, str]) -> str:
    lines = [
        "# Engines by layer and architecture",
        "",
        "For model owners: which engine serves a model of each kind, and why ([how it is decided](engines.md)).",
        "",
        "Each is a small model of Keras 3 with random weights, those of [coverage.md](coverage.md). Which engine is",
        "faster depends on sizes and on the machine: *LiteRT or TensorFlow* stands where both give the same answers",
        "and TensorFlow was faster here. They were exported with 23 GB of memory; `make export` has 8 GB, with which",
        "models of more than 300 MB of weights, such as VGG16, are left to TensorFlow ([engines.md](engines.md)).",
        "",
        "| | LiteRT | LiteRT or TensorFlow | TensorFlow |",
        "|---|---:|---:|---:|",
    ]
    parts: dict[str, dict[str, str]] = {}
    for key, line in sorted(results.items()):
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = line
    for part, rows in parts.items():
        counts = Counter(map(_kind, rows.values()))
        lines.append(f"| {part} | {counts[0]} | {counts[1]} | {counts[2]} |")
    for part, rows in parts.items():
        lines += ["", f"## {part.capitalize()}", "", "| | what the export says |", "|---|---|"]
        lines += [f"| {name} | {line.removeprefix('LiteRT: ')} |" for name, line in rows.items()]
    return "\n".join([*lines, "", f"{machine()}. Measured with `python -m benchmarks.coverage.engines --save`.", ""])


def _kind(line: str) -> int:
    if line.endswith(_LITERT):
        return 0
    return 1 if "answers agree" in line else 2


if __name__ == "__main__":
    main()
