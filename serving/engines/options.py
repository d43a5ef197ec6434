"""What an engine has to know of a model to load it. Imports no NumPy: the doctor reads records without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiteRtProof:
    """That an export's ``model.tflite``, of this SHA-256, gives the SavedModel's answers, and how it is to be run.

    ``version`` is that of ``ai-edge-litert``; another may answer otherwise. ``parallel``: by a thread for each core.
    ``finite_only``: answers for NaN and infinities would differ. ``is_bounded``: the size of the inputs bounds the time
    of a run. ``rows``: so many at a time, because more are no faster and take more memory; 0: any number.
    """

    sha256: str
    version: str
    parallel: bool = False
    finite_only: bool = False
    is_bounded: bool = False
    rows: int = 0


@dataclass(frozen=True)
class LoadOptions:
    """What an export has found out about a model, and what its operator allows.

    ``is_optimized`` skips TensorFlow's graph optimizer, which has already processed the graph. ``any_op`` allows
    operations that do more than compute. ``litert`` is None where LiteRT has not been proven.
    """

    is_optimized: bool = False
    any_op: bool = False
    litert: LiteRtProof | None = None


DEFAULT_OPTIONS = LoadOptions()
