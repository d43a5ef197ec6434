"""``.venv-contract/bin/python -m benchmarks.workers MODELS``: worker processes and threads on one and on two cores.

Measures requests/s in Microsoft's worker runtime, with sixteen concurrent requests per worker process. Varies cores,
FUNCTIONS_WORKER_PROCESS_COUNT, and TensorFlow's threads per operation (TF_NUM_INTRAOP_THREADS). Needs two cores and
Python 3.13 (``make contract`` creates the environment). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.dispatch import write_app
from tools.worker_host.functions_host import Request
from tools.worker_host.worker import Worker

_AT_ONCE = 16
_BODIES = {
    "xor": json.dumps({"X": [[1, 0], [1, 1]]}),
    "mlp": json.dumps({"X": [[0.5] * 784] * 32}),
    "mobilenet": json.dumps({"X": [[[[0.5] * 3] * 224] * 224]}),
}
_CASES = [  # cores, worker processes, threads per operation
    *((1, 1, "as many as cores"), (1, 2, "as many as cores")),
    *((2, 1, "as many as cores"), (2, 1, "1"), (2, 2, "as many as cores"), (2, 2, "1")),
]


def _throughput(app: Path, name: str, processes: int, environment: dict[str, str], seconds: float) -> float:
    """Return the requests/s of all processes together."""
    request = Request("POST", headers={"Content-Type": "application/json"}, body=_BODIES[name].encode())
    counts = [0] * processes
    ready = threading.Barrier(processes + 1)

    def ask(index: int, worker: Worker) -> None:
        function = f"Async{name}"
        worker.load(function)
        worker.requests(function, [request] * _AT_ONCE)
        ready.wait()
        deadline = perf_counter() + seconds
        while perf_counter() < deadline:
            counts[index] += len(worker.requests(function, [request] * _AT_ONCE))
            worker.logs.clear()

    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(app, environment)) for _ in range(processes)]
        threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(workers)]
        for thread in threads:
            thread.start()
        ready.wait()
        start = perf_counter()
        for thread in threads:
            thread.join()
        return sum(counts) / (perf_counter() - start)


def _measure(app: Path, name: str, case: tuple[int, int, str], models: Path, seconds: float) -> float:
    cores, processes, threads = case
    environment = {"SERVING_MODEL_PATH": str(models)}
    if threads == "1":
        environment["TF_NUM_INTRAOP_THREADS"] = "1"
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everywhere)[:cores])  # the workers inherit it
    try:
        return _throughput(app, name, processes, environment, seconds)
    finally:
        os.sched_setaffinity(0, everywhere)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("models", type=Path, help="a model folder with xor/1, mlp/1 and mobilenet/1, all exported")
    parser.add_argument("--seconds", type=float, default=4, help="duration of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    print("| model | cores | worker processes | threads per operation | requests/s |\n|---|---:|---:|---|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        app = Path(scratch)
        write_app(app, _BODIES)
        for name in _BODIES:
            runs: dict[tuple[int, int, str], list[float]] = {case: [] for case in _CASES}
            for _ in range(options.rounds):
                for case in _CASES:
                    runs[case].append(_measure(app, name, case, options.models.resolve(), options.seconds))
                    print(f"{name}, {case}: {runs[case][-1]:.0f}", file=sys.stderr)
            for (cores, processes, threads), figures in runs.items():
                print(f"| {name} | {cores} | {processes} | {threads} | {median(figures):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
