"""``python -m benchmarks.coverage``: every layer and architecture of Keras 2 and 3, saved, exported, served, compared.

Builds a small model with random weights for each, saves it in every format that its Keras can save it in, exports it,
runs it in the serving engine with 1 and 5 rows, and compares the answers with those of the Keras model. Results are
kept in ``dist/coverage/``; --save writes ``docs/coverage.md`` from them.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.coverage import archives, layers, models, operators, report
from benchmarks.coverage.archives import Archive
from benchmarks.coverage.case import Case, Cell, one_line
from benchmarks.figures import ROOT

LIBRARIES = ("keras", "tf_keras")
PARTS: dict[str, Callable[[Any], Mapping[str, Case | Archive | str]]] = {
    "files": archives.cases,
    "layers": layers.cases,
    "combinations": models.combinations,
    "operators": operators.cases,
    "applications": models.applications,
}
_RESULTS = ROOT / "dist" / "coverage"  # a JSON file for each part
_AT_ONCE = {"applications": 1, "files": 1}  # models for one process: large ones leave memory behind
_BY_DEFAULT = 12


def main() -> None:
    """Try the chosen models; print what is not right."""
    options = _parser().parse_args()
    if options.child:
        _child(*json.loads(options.child))
        return
    parts = [part for part in PARTS if getattr(options, part)] or list(PARTS)
    for part in [] if options.report else parts:
        for library in options.library or LIBRARIES:
            path = _RESULTS / f"{part}-{library}.json"
            results = _known(path)
            chunks = list(_chunks(part, library, options, results))
            _write(path, results)
            _run(chunks, options.jobs, results, path)
    results = {key: result for path in sorted(_RESULTS.glob("*.json")) for key, result in _known(path).items()}
    report.print_summary(results)
    if options.save:
        (ROOT / "docs" / "coverage.md").write_text(report.markdown(results), encoding="utf-8")


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(results.items())), indent=1), encoding="utf-8")


def _known(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="only models whose names contain one of these")
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=f"only {part}, and others named so")
    parser.add_argument("--library", choices=LIBRARIES, action="append", help="only models of this Keras")
    parser.add_argument("--missing", action="store_true", help="only models without a result, or with a bad one")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="try nothing; print what is known")
    parser.add_argument("--save", action="store_true", help="write docs/coverage.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _chunks(part: str, library: str, options: argparse.Namespace, results: dict[str, Any]) -> Iterator[list[str]]:
    """Yield what one process tries: a part, a library, and names. Record the reasons of what is not tried."""
    names = []
    for name, case in PARTS[part](__import__(library)).items():
        key = f"{part}/{library}/{name}"
        if isinstance(case, str):
            results[key] = {"note": case}
        elif _is_chosen(name, results.setdefault(key, {"note": "not measured"}), options):
            names.append(name)
    size = _AT_ONCE.get(part, _BY_DEFAULT)
    yield from ([part, library, *names[start : start + size]] for start in range(0, len(names), size))


def _is_chosen(name: str, known: dict[str, Any], options: argparse.Namespace) -> bool:
    if options.names and not any(word.lower() in name.lower() for word in options.names):
        return False
    cells = known.get("cells", {"": {"verdict": ""}})
    return not (options.missing and all(cell["verdict"] in report.GOOD for cell in cells.values()))


def _run(chunks: list[list[str]], jobs: int, results: dict[str, Any], path: Path) -> None:
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=sum(len(chunk) - 2 for chunk in chunks)) as progress:

        def record(key: str, cells: dict[str, Any]) -> None:
            results[key] = {"cells": cells}
            _write(path, results)
            for name, cell in cells.items():
                if cell["verdict"] not in report.GOOD:
                    progress.write(f"{key}, {name}: {cell['verdict']}: {cell['reason']}")
            progress.update()

        list(pool.map(lambda chunk: _try(chunk, record), chunks))


def _try(chunk: list[str], record: Callable[[str, dict[str, Any]], None]) -> None:
    """Try models in one process; a model that ends the process has failed, and the rest goes on in another."""
    part, library, *names = chunk
    command = [sys.executable, "-m", "benchmarks.coverage", "--child", json.dumps(chunk)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        for line in child.stdout or ():
            if line.startswith("{"):
                result = json.loads(line)
                names.remove(result["name"])
                record(f"{part}/{library}/{result['name']}", result["cells"])
    if names:
        died = asdict(Cell("failed", f"the process ended with exit code {child.returncode}"))
        record(f"{part}/{library}/{names[0]}", {"": died})
        _try([part, library, *names[1:]], record) if names[1:] else None


def _child(part: str, library: str, *names: str) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as in the app
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    cases = PARTS[part](__import__(library))
    gc.freeze()  # Keras collects garbage at each clear_session
    for name in names:
        case = cases[name]
        assert not isinstance(case, str)
        try:
            cells = case.verdicts(library)
        except Exception as error:
            cells = {"": Cell("unsaved", f"can't be built: {type(error).__name__}: {one_line(error)}")}
        print(json.dumps({"name": name, "cells": {key: asdict(cell) for key, cell in cells.items()}}), flush=True)


if __name__ == "__main__":
    main()
