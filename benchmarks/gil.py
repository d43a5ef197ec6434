"""``python -m benchmarks.gil``: whether a run of microseconds should release the interpreter's lock.

Runs the XOR model in one thread, with TF_SessionRun bound in both ways: alone, and beside a thread that parses JSON, as
a large request body would. Prints a Markdown table.
"""

from __future__ import annotations

import sys
import threading
from statistics import median
from time import perf_counter

import numpy as np
import orjson

from benchmarks.figures import ROOT
from serving.engines import tensorflow_library
from serving.engines.options import LoadOptions
from serving.engines.tensorflow_c import Session

_FEEDS = {"X": np.array([[1, 0], [1, 1]], np.float32)}


def _measure(session: Session, seconds: float) -> tuple[float, float]:
    """Return p50 and p99 of a run, in microseconds."""
    times = []
    deadline = perf_counter() + seconds
    while perf_counter() < deadline:
        start = perf_counter()
        session.run("serving_default", _FEEDS)
        times.append(perf_counter() - start)
    return median(times) * 1e6, float(np.quantile(times, 0.99)) * 1e6


def _read_json(stop: threading.Event) -> None:
    body = orjson.dumps(np.random.default_rng(0).random((100, 100)).tolist())
    while not stop.is_set():
        orjson.loads(body)


def main() -> None:
    """Measure and print the table."""
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    session = Session(ROOT / "model" / "xor" / "1", LoadOptions(is_optimized=True))
    api = tensorflow_library.load_api()
    bindings = {"released": getattr(api, "TF_SessionRun"), "held": api.quick_session_run}  # noqa: B009 - by name
    print("| lock | alone: p50, µs | p99, µs | beside a thread that parses JSON: p50, µs | p99, µs |")
    print("|---|---:|---:|---:|---:|")
    for name, function in bindings.items():
        api.quick_session_run = function  # what the session calls for runs of microseconds
        alone = _measure(session, 3)
        stop = threading.Event()
        thread = threading.Thread(target=_read_json, args=(stop,))
        thread.start()
        beside = _measure(session, 3)
        stop.set()
        thread.join()
        print(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in (*alone, *beside)) + " |")


if __name__ == "__main__":
    main()
