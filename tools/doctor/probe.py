"""Loads models as a worker does, runs each once, and prints its measurements as one line of JSON.

``children`` runs it in a process of its own. Only this part of the doctor imports what serving needs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path
from time import perf_counter
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Print the measurements and return 0, or ``{"error": ...}`` with one line and return 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.doctor.probe")
    parser.add_argument("--library", action="store_true", help="only print the version of TensorFlow's library")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("folders", type=Path, nargs="*")
    options = parser.parse_args(arguments)
    try:
        answer = _library() if options.library else _load(options.folders, options.engine)
    except Exception as error:
        answer = {"error": _one_line(error)}
    print(json.dumps(answer))
    return int("error" in answer)


def _library() -> dict[str, Any]:
    from serving.engines import tensorflow_library

    return {"version": tensorflow_library.load_api().TF_Version().decode()}


def _load(folders: list[Path], engine: str) -> dict[str, Any]:
    importlib.import_module("azure.functions")  # the worker has it before it loads a function
    start = perf_counter()
    importlib.import_module("serving.http")  # what every function imports
    import_seconds = perf_counter() - start
    models = [_answer_once(folder, engine) for folder in folders]
    seconds = perf_counter() - start
    return {
        "seconds": seconds,
        "import_seconds": import_seconds,
        **_memory_mb(),
        "engine": models[0][0].engine,
        "by_rows": all(by_rows for _, by_rows, *_ in models),
        "inputs": list(models[0][0].signatures[models[0][3]].inputs),
        "note": next((note for _, _, note, _ in models if note), ""),
    }


def _answer_once(folder: Path, engine: str) -> tuple[Any, bool, str, str]:
    """Run a model once; return its session, whether it has batches, why it rejected the values, and the signature."""
    from serving.engines.session import load_session
    from serving.engines.signature import DEFAULT_SIGNATURE
    from serving.models import example, trial
    from serving.models.export_record import ExportRecord
    from serving.settings import Settings

    any_op = folder.parent.name in Settings.from_environment().any_op
    session = load_session(folder, engine, ExportRecord.read(folder).load_options(any_op))
    if not session.signatures:
        raise ValueError("it has no signature that can be served")
    key = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in session.signatures else next(iter(session.signatures))
    signature = example.described(folder, session.signatures)[key]
    return session, signature.has_batch_dimension, trial.answer_once(session, key, signature), key


def _memory_mb() -> dict[str, float | None]:
    """Return resident and private memory of this process, from Linux's ``smaps_rollup``."""
    try:
        text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return {"resident_mb": None, "private_mb": None}
    kib = {key: int(re.findall(rf"{key}:\s+(\d+)", text)[0]) for key in ("Rss", "Anonymous")}
    return {"resident_mb": kib["Rss"] * 1.024e-3, "private_mb": kib["Anonymous"] * 1.024e-3}


def _one_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0][:300]


if __name__ == "__main__":
    sys.exit(main())
