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
        "by_rows": all(by_rows for _, by_rows, _ in models),
        "note": next((note for _, _, note in models if note), ""),
    }


def _answer_once(folder: Path, engine: str) -> tuple[object, bool, str]:
    """Load a model and run it on example values; return it, whether it can be batched, and why it refused them."""
    from serving.engines.session import load_session
    from serving.engines.signature import DEFAULT_SIGNATURE
    from serving.models.export_record import ExportRecord
    from serving.models.model import Model

    session = load_session(folder, engine, ExportRecord.read(folder).is_optimized)
    model = Model(folder.parent.name, int(folder.name), session)
    if not model.signatures:
        raise ValueError("it has no signature that can be served")
    key = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in model.signatures else next(iter(model.signatures))
    return model, model.signatures[key].goes_by_rows, _run(model, key)


def _run(model: Any, key: str) -> str:
    """Run a model on example values, else on zeros; return "", or the error with which it refused all of them.

    Raises PredictionError where TensorFlow fails whatever the values are. A signature does not say which sizes the
    graph accepts where they may vary, so two sizes of images are tried: the least that Keras's models accept, and a
    common one.
    """
    from serving.errors import BadRequestError, PredictionError

    specs = model.signatures[key].inputs
    examples = [{name: _example(spec) for name, spec in specs.items()}]
    examples += [{name: _zeros(spec, size) for name, spec in specs.items()} for size in (32, 224)]
    errors: list[Exception] = []
    for feeds in examples:
        try:
            model.predict(feeds, key)
        except (BadRequestError, PredictionError) as error:
            errors.append(error)
        else:
            return ""
    refused = [str(error) for error in errors if isinstance(error, BadRequestError)]
    if not refused:
        raise errors[0]
    return refused[0]


def _example(spec: Any) -> Any:
    import numpy as np

    from serving.openapi import examples

    if spec.dtype_name != "string":
        return np.array(examples.nested(spec), spec.dtype)
    texts = np.array(examples.nested(spec), object)
    return np.array([text.encode() for text in texts.flat], object).reshape(texts.shape)


def _zeros(spec: Any, size: int) -> Any:
    import numpy as np

    dimensions = spec.shape or ()
    shape = [(size if axis else 1) if length is None else length for axis, length in enumerate(dimensions)]
    return np.full(shape, b"", object) if spec.dtype_name == "string" else np.zeros(shape, spec.dtype)


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
