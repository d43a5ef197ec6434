"""What an engine is: something that loads a SavedModel and runs its signatures on NumPy arrays.

Two exist: ``tensorflow_c`` (TensorFlow's C API, a tenth of the start-up time) and ``tensorflow_python`` (TensorFlow's
Python session, for platforms whose wheel has no C libraries). Nothing above this file knows which one runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from serving.engines.signature import Signature


class Session(Protocol):
    """A loaded SavedModel. Safe to run from many threads at once."""

    signatures: Mapping[str, Signature]

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature: arrays by input name in, arrays by output name out.

        ``feeds`` holds every input of the signature with its dtype and a shape it allows. Raises TensorFlowError.
        """

    def close(self) -> None:
        """Release the session; nothing may be running in it. Also happens when the object is collected."""


def load_session(saved_model: Path, engine: str, is_optimized: bool = False) -> Session:
    """Load a SavedModel with the engine asked for: ``"c"``, ``"python"``, or ``"auto"`` for the first that is there.

    ``is_optimized`` says that TensorFlow's graph optimizer was run over the graph before and need not be now.
    Raises EngineNotFoundError where that engine isn't installed, TensorFlowError where the SavedModel can't be
    loaded, ValueError or TypeError where its signatures can't be served.
    """
    # Imported here: each engine loads what the other does without.
    if engine != "python":
        from serving.engines import tensorflow_c, tensorflow_library

        if engine == "c" or tensorflow_library.is_available():
            return tensorflow_c.Session(saved_model, is_optimized)
    from serving.engines import tensorflow_python

    return tensorflow_python.Session(saved_model, is_optimized)
