"""The interface of an engine. Nothing above this package knows which one runs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from serving.engines import ENGINES
from serving.engines.errors import EngineNotFoundError
from serving.engines.signature import Signature


class RunClock:
    """Predicts how long a run of one signature takes, from the latest run and the size of its inputs."""

    def __init__(self) -> None:
        self._seconds = float("inf")  # none yet
        self._bytes = 1

    def record(self, seconds: float, input_bytes: int) -> None:
        """Record a run."""
        self._seconds, self._bytes = seconds, max(input_bytes, 1)

    def expected_seconds(self, input_bytes: int) -> float:
        """Return how long a run with inputs of this size should take; infinity before the first run."""
        return self._seconds * max(1.0, input_bytes / self._bytes)


def bytes_of(feeds: Mapping[str, np.ndarray]) -> int:
    """Return the size of a run's inputs, as a RunClock counts it."""
    return sum([array.nbytes for array in feeds.values()])


class Session(Protocol):
    """A loaded SavedModel. Safe to run from many threads at once."""

    signatures: Mapping[str, Signature]
    clocks: Mapping[str, RunClock]  # by signature

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature: arrays by input name in, arrays by output name out.

        ``feeds`` holds every input of the signature with its dtype and a shape it allows. Raises TensorFlowError.
        """

    def close(self) -> None:
        """Release the session; nothing may be running in it. Also happens when the object is collected."""


def load_session(saved_model: Path, engine: str, is_optimized: bool = False) -> Session:
    """Load a SavedModel with an engine of ENGINES, or with ``"auto"`` by the first that is available.

    ``is_optimized`` says that TensorFlow's graph optimizer was run over the graph and need not run again.
    Raises EngineNotFoundError where that engine isn't installed, TensorFlowError where the SavedModel can't be
    loaded, ValueError or TypeError where its signatures can't be served.
    """
    for name, module in ENGINES.items():
        if engine in (name, "auto"):
            # Imported here: each engine loads what the others do without.
            implementation = import_module(f"serving.engines.{module}")
            if engine == name or implementation.is_available():
                session: Session = implementation.Session(saved_model, is_optimized)
                return session
    raise EngineNotFoundError(f"No engine {engine!r} is installed; install the packages of requirements.txt.")
