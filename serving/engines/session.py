"""The interface of every engine; other packages use no more than this."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from serving.engines import ENGINES, UNAVAILABLE, graph
from serving.engines.errors import DataLossError, EngineNotFoundError, NotFoundError
from serving.engines.options import DEFAULT_OPTIONS, LoadOptions
from serving.engines.signature import SERVE_TAG, Signature


class RunClock:
    """Estimates how long a run of a signature takes, from the time and the input size of the latest run."""

    def __init__(self) -> None:
        self._seconds = float("inf")  # no run yet
        self._bytes = 1

    def record(self, seconds: float, input_bytes: int) -> None:
        """Record a run."""
        self._seconds, self._bytes = seconds, max(input_bytes, 1)

    def expected_seconds(self, input_bytes: int) -> float:
        """Return the seconds that a run with inputs of this size should take; infinity before the first run."""
        return self._seconds * max(1.0, input_bytes / self._bytes)


def bytes_of(feeds: Mapping[str, np.ndarray]) -> int:
    """Return the size of a run's inputs, in the bytes that a RunClock counts."""
    return sum([array.nbytes for array in feeds.values()])


class Session(Protocol):
    """A loaded SavedModel. ``run`` is thread-safe. ``engine`` is ``litert`` or ``tensorflow``."""

    engine: str
    signatures: Mapping[str, Signature]
    clocks: Mapping[str, RunClock]  # by signature

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature on arrays by input name, and return arrays by output name.

        ``feeds`` must have every input of the signature, in its dtype and a shape that it allows: nothing is checked
        here. Raises TensorFlowError.
        """

    def close(self) -> None:
        """Release the session, which must not be running. Garbage collection does the same."""


def load_session(saved_model: Path, engine: str, options: LoadOptions = DEFAULT_OPTIONS) -> Session:
    """Load a SavedModel with the first engine of a row of ENGINES that is available.

    Raises EngineNotFoundError if none is, UnsafeGraphError for an operation that is not allowed, TensorFlowError if the
    SavedModel can't be loaded, ValueError or TypeError if its signatures can't be served.
    """
    for module in ENGINES[engine]:
        # Imported here, because each engine loads libraries that the others do not need.
        implementation = import_module(f"serving.engines.{module}")
        if implementation.is_available(options):
            if module != "litert" and not options.any_op:
                _check(saved_model)
            session: Session = implementation.Session(saved_model, options)
            return session
    causes = "; ".join(UNAVAILABLE[module] for module in ENGINES[engine])
    raise EngineNotFoundError(f"No engine for SERVING_ENGINE={engine} can run this model: {causes}.")


def _check(saved_model: Path) -> None:
    try:
        graph.check(saved_model, SERVE_TAG)
    except OSError as error:
        raise NotFoundError(f"{saved_model} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise DataLossError(f"{saved_model} can't be served: {error}") from error
