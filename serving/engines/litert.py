"""The engine on LiteRT: runs the ``model.tflite`` that an export has proven equal to the SavedModel beside it."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Condition, Lock
from time import perf_counter, thread_time

import numpy as np

from serving.engines import MODEL_TFLITE, SAVED_MODEL, litert_library, litert_runner
from serving.engines.errors import DataLossError, InvalidArgumentError, ResourceExhaustedError
from serving.engines.litert_runner import LiteRtModel, Runner, Shapes
from serving.engines.options import LoadOptions
from serving.engines.session import RunClock, bytes_of
from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, Signature, read_signatures

__all__ = ["Session", "is_available"]

# Each runner unpacks the weights into memory of its own, and takes 0.1 ms and more to change its shapes. A small model
# gets a runner for each shape in use, a large one a single runner (docs/engines.md).
_BYTES_OF_RUNNERS = 64 * 1024 * 1024
_MOST_RUNNERS = 16

# Of the rows of a batch of a fixed size; for fewer than these, single rows are faster.
_LEAST_PART_IN_USE = 0.25

# Of inputs and outputs. What lies between them takes a multiple of it.
_MOST_BYTES_KEPT = 8 * 1024 * 1024

# As in ``tensorflow_c``: a quick run with less keeps the GIL.
_SMALL_BYTES = 16 * 1024


def is_available(options: LoadOptions) -> bool:
    """Return whether LiteRT is installed, and the model's export has proven this version of it."""
    return options.litert is not None and options.litert.version == litert_library.version()


class Session:
    """A ``model.tflite`` as LiteRT compiles it; see ``serving.engines.session.Session``."""

    engine = "litert"
    signatures: Mapping[str, Signature]

    def __init__(self, saved_model: Path, options: LoadOptions) -> None:
        proof = options.litert
        assert proof is not None  # or it is not available
        path = saved_model / MODEL_TFLITE
        content = litert_runner.read(path)
        if hashlib.sha256(content.data).hexdigest() != proof.sha256:
            raise DataLossError(f"{path} has changed since it was exported; copy the export again")
        signature = _read_signature(saved_model / SAVED_MODEL)
        self._model = LiteRtModel(content, signature, (os.cpu_count() or 1) if proof.parallel else 1)
        # Two, so that a run on the event loop does not wait for one in a thread; but every core runs a long one.
        most = 1 if proof.parallel else max(2, min(_MOST_RUNNERS, _BYTES_OF_RUNNERS // len(content)))
        self._pool = Pool(partial(Runner, self._model), most)
        self.rows_at_once = max(0, proof.rows)
        self._finite_only = proof.finite_only
        self.signatures = {DEFAULT_SIGNATURE: signature}
        self._clock = RunClock()
        self.clocks = {DEFAULT_SIGNATURE: self._clock}
        self._inputs = tuple(self._model.inputs)

    def close(self) -> None:
        """Release the session, which must not be running."""
        self._pool.close()

    def run(self, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model; see ``serving.engines.session.Session.run``."""
        if self._finite_only:
            _check_finite(feeds)
        clock, input_bytes = self._clock, bytes_of(feeds)
        if not input_bytes:
            return self._without_rows(feeds)
        is_quick = clock.is_quick(input_bytes) and input_bytes <= _SMALL_BYTES
        # A run in a thread waits for the GIL at its end: a quick one would look long, and go on in threads.
        now = perf_counter if is_quick else thread_time
        start = now()
        run = self._run_in_parts if self._model.fixed_rows or self.rows_at_once else self._run
        fetches = run(feeds, is_quick)
        clock.record(now() - start, input_bytes)
        return fetches

    def _without_rows(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer inputs without rows, which LiteRT does not take, without a run."""
        outputs = self._model.outputs
        shapes = {name: [size or 0 for size in spec.shape or ()] for name, spec in outputs.items()}
        has_rows = self.signatures[DEFAULT_SIGNATURE].has_batch_dimension
        if not has_rows or any(map(len, feeds.values())) or any(0 in shape[1:] for shape in shapes.values()):
            raise InvalidArgumentError("an input is empty")
        return {name: np.empty(shapes[name], spec.dtype) for name, spec in outputs.items()}

    def _run_in_parts(self, feeds: Mapping[str, np.ndarray], is_quick: bool) -> dict[str, np.ndarray]:
        """Run a batch in parts, the last one filled up with copies of its last row if the model's batches are fixed."""
        rows = {len(array) for array in feeds.values()}
        if len(rows) > 1:
            numbers = ", ".join(map(str, sorted(rows)))
            raise InvalidArgumentError(f"the inputs have different numbers of rows: {numbers}")
        [count] = rows
        parts: list[dict[str, np.ndarray]] = []
        start = 0
        while start < count:
            left = count - start
            size = self._size_of_part(left)
            part = {name: _part(array, start, size) for name, array in feeds.items()} if size != count else feeds
            parts.append({name: array[:left] for name, array in self._run(part, is_quick).items()})
            start += size
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts[1:] else parts[0]

    def _size_of_part(self, left: int) -> int:
        """Return the rows to run next: one of the sizes that the model takes, or an even share of the rest."""
        if self._model.fixed_rows:
            return next(rows for rows in self._model.fixed_rows if left > rows * _LEAST_PART_IN_USE or rows == 1)
        return -(-left // -(-left // self.rows_at_once))

    def _run(self, feeds: Mapping[str, np.ndarray], is_quick: bool) -> dict[str, np.ndarray]:
        shapes = tuple([feeds[name].shape for name in self._inputs])
        runner = self._pool.take(shapes)
        try:
            if runner.shapes != shapes:
                self._bind(runner, shapes)
            return runner.run(feeds, is_quick)
        except BaseException:
            runner.shapes = None  # whatever state the failure has left it in is made anew
            raise
        finally:
            self._pool.give_back(runner)

    def _bind(self, runner: Runner, shapes: Shapes) -> None:
        try:
            runner.bind(shapes)
        except InvalidArgumentError as error:
            # LiteRT has one status for shapes that it can't take and for memory that it can't get. If a single row of
            # them is taken, it was the memory.
            row = tuple((1, *shape[1:]) for shape in shapes)
            if row == shapes or not self.signatures[DEFAULT_SIGNATURE].has_batch_dimension:
                raise
            runner.bind(row)
            raise ResourceExhaustedError(f"no memory for inputs of these shapes: {shapes}") from error


def _part(array: np.ndarray, start: int, size: int) -> np.ndarray:
    return array[start : start + size].take(range(size), axis=0, mode="clip")


def _check_finite(feeds: Mapping[str, np.ndarray]) -> None:
    for name, array in feeds.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidArgumentError(f"{name} has a value that is not finite")


def _read_signature(path: Path) -> Signature:
    # Mapped, not read: a frozen graph contains its weights, which are skipped.
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_signatures(memoryview(content), SERVE_TAG)[DEFAULT_SIGNATURE]


class Pool:
    """Runners, at most ``most`` of them, made when they are needed. Thread-safe."""

    def __init__(self, make: Callable[[], Runner], most: int) -> None:
        self._make, self._most = make, most
        self._idle: list[Runner] = []  # the longest idle first; a list's own operations need no lock
        self._count = self._waiting = 0
        self._lock = Lock()
        self._changed = Condition(self._lock)

    def take(self, shapes: Shapes) -> Runner:
        """Return a runner, one that is bound to these shapes if it is idle; wait if all are running."""
        runner = self._bound_to(shapes)
        if runner is not None:
            return runner
        with self._lock:
            self._waiting += 1
            try:
                while self._count == self._most:
                    runner = self._bound_to(shapes) or self._longest_idle()
                    if runner is not None:
                        return runner
                    self._changed.wait()
            finally:
                self._waiting -= 1
            self._count += 1
        try:
            return self._make()
        except BaseException:
            self._drop()
            raise

    def _bound_to(self, shapes: Shapes) -> Runner | None:
        for runner in reversed(self._idle):
            if runner.shapes == shapes:
                try:
                    self._idle.remove(runner)
                except ValueError:  # another thread has taken it
                    continue
                return runner
        return None

    def _longest_idle(self) -> Runner | None:
        try:
            return self._idle.pop(0)
        except IndexError:
            return None

    def give_back(self, runner: Runner) -> None:
        """Let others take a runner, unless it is bound to so much memory that it had better be made anew."""
        if runner.bytes_bound > _MOST_BYTES_KEPT:
            self._drop()
            return
        self._idle.append(runner)
        if self._waiting:  # who waits has counted before looking into the list
            with self._lock:
                self._changed.notify()

    def _drop(self) -> None:
        with self._lock:
            self._count -= 1
            self._changed.notify()

    def close(self) -> None:
        """Let the runners go."""
        with self._lock:
            self._idle.clear()
