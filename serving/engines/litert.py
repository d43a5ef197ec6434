"""The engine on LiteRT: runs the ``model.tflite`` that an export has proven equal to the SavedModel beside it."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Condition
from time import perf_counter

import numpy as np

from serving.engines import MODEL_TFLITE, SAVED_MODEL, litert_library
from serving.engines.errors import DataLossError, InvalidArgumentError
from serving.engines.litert_runner import LiteRtModel, Runner, Shapes
from serving.engines.options import LoadOptions
from serving.engines.session import RunClock, bytes_of
from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, Signature, read_signatures

__all__ = ["Session", "is_available"]

# Each runner unpacks the weights into memory of its own, and takes 0.1 ms and more to change its shapes. A small model
# gets a runner for each shape in use, a large one a single runner (docs/performance.md has the figures).
_BYTES_OF_RUNNERS = 64 * 1024 * 1024
_MOST_RUNNERS = 16

# As in ``tensorflow_c``: a shorter run keeps the GIL.
_QUICK_RUN_SECONDS = 0.0005
_SMALL_BYTES = 16 * 1024


def is_available(options: LoadOptions) -> bool:
    """Return whether LiteRT is installed, and the model's export has proven it."""
    return options.litert is not None and litert_library.is_installed()


class Session:
    """A ``model.tflite`` as LiteRT compiles it; see ``serving.engines.session.Session``."""

    engine = "litert"
    signatures: Mapping[str, Signature]

    def __init__(self, saved_model: Path, options: LoadOptions) -> None:
        proof, path = options.litert, saved_model / MODEL_TFLITE
        assert proof is not None  # or it is not available
        if _sha256(path) != proof.sha256:
            raise DataLossError(f"{path} has changed since it was exported; copy the export again")
        signature = _read_signature(saved_model / SAVED_MODEL)
        self._model = LiteRtModel(path, signature, (os.cpu_count() or 1) if proof.parallel else 1)
        most = max(1, min(_MOST_RUNNERS, _BYTES_OF_RUNNERS // path.stat().st_size))
        self._pool = _Pool(partial(Runner, self._model), most)
        self._single_row, self._finite_only = proof.single_row, proof.finite_only
        self.signatures = {DEFAULT_SIGNATURE: signature}
        self.clocks = {DEFAULT_SIGNATURE: RunClock()}

    def close(self) -> None:
        """Release the session, which must not be running."""
        self._pool.close()

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model; see ``serving.engines.session.Session.run``."""
        clock, input_bytes = self.clocks[signature], bytes_of(feeds)
        is_quick = clock.expected_seconds(input_bytes) < _QUICK_RUN_SECONDS and input_bytes <= _SMALL_BYTES
        arrays = [feeds[name] for name in self._model.inputs]
        if self._finite_only:
            _check_finite(feeds)
        start = perf_counter()
        fetches = self._run(arrays, is_quick)
        clock.record(perf_counter() - start, input_bytes)
        return dict(zip(self._model.outputs, fetches, strict=True))

    def _run(self, arrays: list[np.ndarray], is_quick: bool) -> list[np.ndarray]:
        if 0 in arrays[0].shape[:1]:  # LiteRT has no empty tensors
            row = [np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays]
            return [fetched[:0] for fetched in self._run(row, is_quick)]
        if not self._single_row or len(arrays[0]) == 1:
            return self._run_once(arrays, is_quick)
        rows = range(len(arrays[0]))
        by_row = [self._run_once([array[row : row + 1] for array in arrays], is_quick) for row in rows]
        return [np.concatenate(fetched) for fetched in zip(*by_row, strict=True)]

    def _run_once(self, arrays: list[np.ndarray], is_quick: bool) -> list[np.ndarray]:
        shapes = tuple([array.shape for array in arrays])
        runner = self._pool.take(shapes)
        try:
            if runner.shapes != shapes:
                runner.bind(shapes)
            return runner.run(arrays, is_quick)
        except BaseException:
            runner.shapes = None  # whatever state the failure has left it in is made anew
            raise
        finally:
            self._pool.give_back(runner)


def _check_finite(feeds: Mapping[str, np.ndarray]) -> None:
    for name, array in feeds.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidArgumentError(f"{name} has a value that is not finite")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_signature(path: Path) -> Signature:
    # Mapped, not read: a frozen graph contains its weights, which are skipped.
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_signatures(memoryview(content), SERVE_TAG)[DEFAULT_SIGNATURE]


class _Pool:
    """Runners, at most ``most`` of them, made when they are needed. Thread-safe.

    The usual path takes no lock: operations of a list and a dict are atomic.
    """

    def __init__(self, make: Callable[[], Runner], most: int) -> None:
        self._make, self._most = make, most
        self._idle: dict[Shapes | None, list[Runner]] = {}  # by the shapes that they are bound to
        self._count = self._waiting = 0
        self._changed = Condition()

    def take(self, shapes: Shapes) -> Runner:
        """Return a runner, one that is bound to these shapes if it is idle; wait if all are running."""
        try:
            return self._idle[shapes].pop()
        except (KeyError, IndexError):
            pass
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._count < self._most or any(self._idle.values()))
            finally:
                self._waiting -= 1
            if self._count == self._most:
                return self._steal()
            self._count += 1
        try:
            return self._make()
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise

    def _steal(self) -> Runner:
        """Return an idle runner of the shapes that have been in use for longest."""
        shapes = next(shapes for shapes, runners in self._idle.items() if runners)
        runners = self._idle.pop(shapes)
        runner = runners.pop()
        if runners:
            self._idle[shapes] = runners
        return runner

    def give_back(self, runner: Runner) -> None:
        """Let others take a runner."""
        self._idle.setdefault(runner.shapes, []).append(runner)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def close(self) -> None:
        """Let the runners go."""
        self._idle.clear()
