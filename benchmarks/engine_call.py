"""One engine call on the XOR model with 2 rows, beside LiteRT's own interpreter and the C API's thread pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from serving.engines.session import load_session
from serving.models.export_record import ExportRecord
from serving.settings import APP_ROOT

_BLOCKS, _CALLS = 10, 500  # in blocks, because the pool's threads stay awake and would slow down the next call

FOLDER = APP_ROOT / "model" / "xor" / "1"
ROWS = np.array([[1, 0], [1, 1]], np.float32)


def main() -> None:
    """Measure all kinds in turn; print the median seconds of a call as one line of JSON."""
    calls = _calls()
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    for kind, call in [*calls.items()] * _BLOCKS:
        for _ in range(_CALLS):
            start = perf_counter()
            call()
            times[kind].append(perf_counter() - start)
    print(json.dumps({kind: sorted(values)[len(values) // 2] for kind, values in times.items()}))


def _calls() -> dict[str, Callable[[], Any]]:
    options = ExportRecord.read(FOLDER).load_options()
    litert, caller, pool = (load_session(FOLDER, engine, options) for engine in ("litert", "c", "c"))
    pool._run_options = None  # type: ignore[attr-defined]
    runs = {
        name: partial(session.run, "serving_default", {"X": ROWS})
        for name, session in {"litert": litert, "caller": caller, "pool": pool}.items()
    }
    return {**runs, "interpreter": _interpreter()}


def _interpreter() -> Callable[[], np.ndarray]:
    """Return a call of LiteRT's Python interpreter, ready for these rows."""
    interpreter = Interpreter(model_path=str(FOLDER / "model.tflite"), num_threads=1)
    [given], [wanted] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], ROWS.shape)
    interpreter.allocate_tensors()

    def call() -> np.ndarray:
        interpreter.set_tensor(given["index"], ROWS)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])

    return call


if __name__ == "__main__":
    main()
