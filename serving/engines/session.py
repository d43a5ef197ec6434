"""The interface of every engine; other packages use no more than this."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from serving.engines import ENGINES, UNAVAILABLE, graph
from serving.engines.errors import DataLossError, EngineNotFoundError, NotFoundError
from serving.engines.options import DEFAULT_OPTIONS, LoadOptions
from serving.engines.signature import SERVE_TAG, Signature

# A run that should take less is made on the event loop and keeps the GIL: a thread wakes up late, and to get the GIL
# back from a busy one may take 5 ms, Python's switch interval (docs/dispatch.md).
_QUICK_RUN_SECONDS = 0.001

# Of time per byte, for inputs larger than the latest: attention and others take more than in proportion.
_MARGIN = 2


class RunClock:
    """Estimates how long a run of a signature takes, from the time and the input size of the latest run.

    No run is expected to be quick unless the size of its inputs bounds its time: ``is_bounded``.
    """

    def __init__(self) -> None:
        self.is_bounded = True
        self._seconds = float("inf")  # no run yet
        self._bytes = 1

    def record(self, seconds: float, input_bytes: int) -> None:
        """Record a run."""
        self._seconds, self._bytes = seconds, max(input_bytes, 1)

    def expected_seconds(self, input_bytes: int) -> float:
        """Return the seconds that a run with inputs of this size should take; infinity before the first run."""
        return self._seconds * (_MARGIN * input_bytes / self._bytes if input_bytes > self._bytes else 1)

    def is_quick(self, input_bytes: int) -> bool:
        """Return whether a run with inputs of this size should take less time than handing it to a thread."""
        return self.is_bounded and self.expected_seconds(input_bytes) < _QUICK_RUN_SECONDS


def bytes_of(feeds: Mapping[str, np.ndarray]) -> int:
    """Return the size of a run's inputs, in the bytes that a RunClock counts."""
    return sum([array.nbytes for array in feeds.values()])


class Session(Protocol):
    """A loaded SavedModel. ``run`` is thread-safe. ``engine`` is ``litert`` or ``tensorflow``.

    ``rows_at_once`` are worth joining to a batch: it runs more of them one part after the other. 0 means any number.
    """

    engine: str
    rows_at_once: int
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
    implementation = _module(engine, options)
    if implementation.Session.engine == "litert" and options.litert is not None:
        is_bounded = options.litert.is_bounded  # its export has read the graph
    else:
        is_bounded = _check(saved_model, options.any_op)
    session: Session = implementation.Session(saved_model, options)
    for key, clock in session.clocks.items():
        # Strings are of any length, whatever their number.
        has_strings = any(spec.dtype_name == "string" for spec in session.signatures[key].inputs.values())
        clock.is_bounded = is_bounded and not has_strings
    return session


def engine_of(engine: str, options: LoadOptions) -> str:
    """Return the name of the engine that will load a model, as its session has it; raises EngineNotFoundError."""
    name: str = _module(engine, options).Session.engine
    return name


def _module(engine: str, options: LoadOptions) -> ModuleType:
    for name in ENGINES[engine]:
        # Imported here, because each engine loads libraries that the others do not need.
        module = import_module(f"serving.engines.{name}")
        if module.is_available(options):
            return module
    causes = "; ".join(UNAVAILABLE[name] for name in ENGINES[engine])
    raise EngineNotFoundError(f"No engine for SERVING_ENGINE={engine} can run this model: {causes}.")


def _check(saved_model: Path, is_trusted: bool) -> bool:
    """Check a graph, unless it is trusted; return whether the size of its inputs bounds its time."""
    try:
        return graph.check(saved_model, SERVE_TAG, is_trusted)
    except OSError as error:
        raise NotFoundError(f"{saved_model} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise DataLossError(f"{saved_model} can't be served: {error}") from error
