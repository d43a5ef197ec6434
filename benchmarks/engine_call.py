"""One engine call on the XOR model with 2 rows: in the caller's thread, and in the C API's default thread pool."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import numpy as np

from serving.engines import tensorflow_c
from serving.engines.session import LoadOptions
from serving.settings import Settings

_BLOCKS, _CALLS = 10, 500  # in blocks, because the pool's threads stay awake and would slow down the next call


def main() -> None:
    """Measure both kinds in turn; print the median seconds of a call as one line of JSON."""
    session = tensorflow_c.Session(Settings().model_path / "xor" / "1", LoadOptions(is_optimized=True))
    [name] = session.signatures["serving_default"].inputs
    feeds = {name: np.array([[1, 0], [1, 1]], np.float32)}
    options: dict[str, Any] = {"caller": session._run_options, "pool": None}
    times: dict[str, list[float]] = {kind: [] for kind in options}
    for kind, run_options in [*options.items()] * _BLOCKS:
        session._run_options = run_options
        for _ in range(_CALLS):
            start = perf_counter()
            session.run("serving_default", feeds)
            times[kind].append(perf_counter() - start)
    print(json.dumps({kind: sorted(values)[len(values) // 2] for kind, values in times.items()}))


if __name__ == "__main__":
    main()
