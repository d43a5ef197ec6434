"""A ``model.tflite`` beside the SavedModel, where LiteRT can run it, gives the same answers, and is faster."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from export import saved_model
from serving.engines import MODEL_TFLITE, graph, litert_library, litert_runner
from serving.engines.errors import InvalidArgumentError
from serving.engines.litert_library import ELEMENT_TYPES, MAX_RANK
from serving.engines.litert_runner import FIXED_ROWS, LiteRtModel, Runner
from serving.engines.options import LiteRtProof, LoadOptions
from serving.engines.session import Session, load_session
from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, Signature
from serving.models import trial
from serving.models.export_record import sha256

_Tensors = Mapping[str, np.ndarray]
_Trace = Callable[[int | None], Any]

# Rows and sizes of further open dimensions that answers are compared for; fewer where a row takes long.
_ROWS, _SIZES = (1, 3, 64), (1, 7, 8, 32, 33, 64)
_LARGEST_DIFFERENCE = 1e-5
_SCALES = (*saved_model.SCALES, 1e10, 0)
_LONG_SECONDS, _LESS_ROWS, _LESS_SIZES = 0.1, (1, 3, 8), (32, 33, 224)

# Batches that LiteRT runs where it can't run any number of rows (docs/engines.md).
_FIXED_ROWS = (1, 8)

# What is measured: a row, and a batch.
_BATCH = 32
_SECONDS_OF_MEASURING = 0.2
# Several threads run a row that takes this long, unless they take this many times as long. What they gain is not asked:
# on a machine that is busy during the export they gain nothing.
_SECONDS_FOR_THREADS = 0.001
_LOSS_BY_THREADS = 1.1
# Sizes of the parts that a batch may be run in. The least is taken that a larger one gains no more than this on, and
# that takes this long: what is quicker is run on the event loop.
_SIZES_OF_PARTS, _GAIN_OF_BATCHES, _SECONDS_OF_PART = (1, 2, 4, 8, 16, 32), 1.15, 0.001
# How many times slower a batch may be where a row is faster.
_LOSS_IN_A_BATCH = 1.5


_LATE_SHAPE = "it learns an output's shape only while it runs"


class _UnprovenError(Exception):
    """LiteRT can't run the model, answers otherwise, or is slower; the message says which."""


class _OpenBatchError(_UnprovenError):
    """LiteRT can't run the model for any number of rows, but may for a fixed one."""


@dataclass(frozen=True)
class Decision:
    """Which engine serves an export, in one line with the reason, and how LiteRT may run it: None if it may not."""

    reason: str
    proof: LiteRtProof | None = None


@dataclass(frozen=True)
class _Trial:
    feeds: _Tensors
    expected: _Tensors | None  # TensorFlow's answers; None where it rejects the feeds
    is_usual: bool = True  # of the magnitude of what the model was seen to take


def decide(tf: Any, trace: _Trace, folder: Path, options: LoadOptions, independent_rows: bool) -> Decision:
    """Write ``model.tflite`` into an export's folder if LiteRT is to serve it, and say why it is, or is not.

    ``trace`` returns the model's concrete function, for any number of rows or for a fixed one.
    """
    if not litert_library.version():
        return Decision("LiteRT is not installed here: served by TensorFlow")
    reference = load_session(folder, "tensorflow", options)
    try:
        return _decide(tf, trace, folder, reference, independent_rows)
    except Exception as error:  # TensorFlow serves the model, so nothing here may end its export
        (folder / MODEL_TFLITE).unlink(missing_ok=True)
        reason = str(error) if isinstance(error, _UnprovenError) else f"{type(error).__name__}: {_one_line(error)}"
        return Decision(f"LiteRT: {reason}: served by TensorFlow")
    finally:
        reference.close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _decide(tf: Any, trace: _Trace, folder: Path, reference: Session, independent_rows: bool) -> Decision:
    _check_types(reference.signatures[DEFAULT_SIGNATURE])
    trials = _trials(reference)
    proven = partial(_proven, tf, trace, folder, reference, trials, independent_rows)
    try:
        return proven(fixed_rows=())
    except _OpenBatchError:
        if not independent_rows:
            raise
    return proven(fixed_rows=_FIXED_ROWS)


def _check_types(signature: Signature) -> None:
    for name, spec in (*signature.inputs.items(), *signature.outputs.items()):
        if spec.dtype_name not in ELEMENT_TYPES or spec.shape is None or len(spec.shape) > MAX_RANK:
            raise _UnprovenError(f"it does not support the type or rank of {name!r} ({spec.dtype_name})")
    if not any(None in (spec.shape or ()) for spec in signature.inputs.values()):
        for spec in signature.outputs.values():
            if None in (spec.shape or ()):  # by the inputs' values
                raise _UnprovenError(_LATE_SHAPE)


def _trials(reference: Session) -> list[_Trial]:
    """Run the model in TensorFlow for several rows, sizes and magnitudes, for a row that it takes first."""
    signature = reference.signatures[DEFAULT_SIGNATURE]
    fill, feeds, _ = saved_model.find_inputs(signature, partial(reference.run, DEFAULT_SIGNATURE), 1)
    start = perf_counter()
    found = [_trial(reference, feeds)]
    is_long = perf_counter() - start > _LONG_SECONDS
    for rows in _LESS_ROWS if is_long else _ROWS:
        for size in _LESS_SIZES if is_long else _SIZES:
            feeds = trial.feeds(signature, fill, rows, size)
            for scale in _SCALES if rows == _ROWS[1] else (1,):
                scaled = {name: saved_model.scaled(array, scale) for name, array in feeds.items()}
                found.append(replace(_trial(reference, scaled), is_usual=scale == 1))
            if not trial.is_open(signature):
                break
    return found


def _trial(session: Session, feeds: _Tensors) -> _Trial:
    """Run; feeds may have a size that the model doesn't take, or numbers that are no indices of its embedding."""
    try:
        return _Trial(feeds, session.run(DEFAULT_SIGNATURE, feeds))
    except InvalidArgumentError:
        return _Trial(feeds, None)


def _proven(
    tf: Any,
    trace: _Trace,
    folder: Path,
    reference: Session,
    trials: list[_Trial],
    independent_rows: bool,
    fixed_rows: tuple[int, ...],
) -> Decision:
    path = folder / MODEL_TFLITE
    functions = {f"{FIXED_ROWS}{rows}": trace(rows) for rows in fixed_rows} or {DEFAULT_SIGNATURE: trace(None)}
    path.write_bytes(_converted(tf, functions))
    _check_shapes(LiteRtModel(litert_runner.read(path), reference.signatures[DEFAULT_SIGNATURE], 1), trials)
    is_bounded = graph.check(folder, SERVE_TAG, is_trusted=True)
    proof = LiteRtProof(sha256(path), litert_library.version(), is_bounded=is_bounded)
    with _session(folder, proof) as session:
        difference = max(_difference(session, reference, trial) for trial in trials)
        proof = replace(proof, finite_only=not _agrees_beyond_numbers(session, reference, trials[0].feeds))
    sizes = _SIZES_OF_PARTS if independent_rows and not fixed_rows else ()
    return _measured(folder, proof, reference, trials[0].feeds, difference, sizes)


def _converted(tf: Any, functions: Mapping[str, Any]) -> bytes:
    """Return concrete functions as LiteRT's flatbuffer: of built-in operations only, not quantized."""
    with tempfile.TemporaryDirectory() as scratch, _silence():
        folder = Path(scratch) / "frozen"
        if lack := saved_model.lacks_memory(functions.values()):
            raise _UnprovenError(lack)
        if not saved_model.write_frozen(tf, functions, folder, for_litert=True):
            raise _UnprovenError("the model has state or tables, which can't be converted")
        try:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), list(functions))
            content: bytes = converter.convert()
        except Exception as error:
            operations = re.search(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE)
            raise _OpenBatchError(
                f"it has no operation for {operations[1]}" if operations else "it can't be converted"
            ) from error
    return content


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what the converter's C++ writes to standard error: its exception says the same."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_shapes(model: LiteRtModel, trials: list[_Trial]) -> None:
    """Raise unless LiteRT knows the outputs' shapes before it runs: it writes beyond memory for smaller ones."""
    runner = Runner(model)
    sizes: list[int | None] = [*model.fixed_rows] or [None]
    for one, rows in product(trials, sizes):
        if one.expected is not None:
            given = tuple(_shape(one.feeds[name], rows) for name in model.inputs)
            try:
                found = runner.bind(given)
            except InvalidArgumentError as error:
                shapes = " and ".join(map(str, map(list, given)))
                raise _OpenBatchError(
                    f"it does not take {shapes}, as TensorFlow does; try inputs of one size"
                ) from error
            if found != tuple(_shape(one.expected[name], rows) for name in model.outputs):
                raise _OpenBatchError(_LATE_SHAPE)


def _shape(array: np.ndarray, rows: int | None) -> tuple[int, ...]:
    return (rows, *array.shape[1:]) if rows else array.shape


@contextmanager
def _session(folder: Path, proof: LiteRtProof) -> Iterator[Session]:
    session = load_session(folder, "litert", LoadOptions(litert=proof))
    try:
        yield session
    finally:
        session.close()


def _difference(session: Session, reference: Session, trial: _Trial) -> float:
    """Return the largest difference to TensorFlow, as a part of the largest number in an answer, but of 1 at least."""
    fetches = _trial(session, trial.feeds).expected
    if trial.expected is None or fetches is None:
        if fetches is not trial.expected:
            raise _UnprovenError("it takes inputs that TensorFlow rejects, or the reverse")
        return 0.0
    return max(_output_difference(reference, trial, name, fetches[name]) for name in trial.expected)


def _output_difference(reference: Session, trial: _Trial, name: str, got: np.ndarray) -> float:
    assert trial.expected is not None
    difference = saved_model.relative_difference(got, trial.expected[name])
    if difference <= _LARGEST_DIFFERENCE:
        return difference
    if not trial.is_usual and difference <= _rounding(reference, trial, name):
        return 0.0
    by = f" by up to {difference:.2g}" if np.isfinite(difference) else ""
    raise _UnprovenError(f"its output {name!r} differs{by}")


def _rounding(reference: Session, trial: _Trial, name: str) -> float:
    """Return what rounding may change in an answer: large inputs of a loop, say, amplify it."""
    moved = _trial(reference, saved_model.nudged(trial.feeds)).expected
    if trial.expected is None or moved is None:
        return 0.0
    return saved_model.rounding(moved[name], trial.expected[name])


def _agrees_beyond_numbers(session: Session, reference: Session, feeds: _Tensors) -> bool:
    """Tell whether both engines answer the same for NaN and infinities among the inputs."""
    for value in (np.nan, np.inf, -np.inf):
        spoiled = {name: _with_first(array, value) for name, array in feeds.items()}
        try:
            _difference(session, reference, _trial(reference, spoiled))
        except _UnprovenError:
            return False
    return True


def _with_first(array: np.ndarray, value: float) -> np.ndarray:
    result = array.copy()
    if array.dtype.kind == "f" and array.size:
        result.flat[0] = value
    return result


def _measured(
    folder: Path, proof: LiteRtProof, reference: Session, row: _Tensors, difference: float, sizes: tuple[int, ...]
) -> Decision:
    """Decide by the time of a row and of a batch, each engine in turn; ``sizes`` are those of parts to try."""
    has_batch = reference.signatures[DEFAULT_SIGNATURE].has_batch_dimension
    parallel = replace(proof, parallel=True)
    with _session(folder, proof) as single, _session(folder, parallel) as several:
        alone, threads, theirs = _fastest([single, several, reference], row)
        if alone > _SECONDS_FOR_THREADS and threads < _LOSS_BY_THREADS * alone:
            single, proof, alone = several, parallel, threads
        proof = replace(proof, rows=_rows_at_once(single, row, sizes[: 4 if alone > _LONG_SECONDS else None]))
    with _session(folder, proof) as single:
        in_batch, theirs_in_batch = _fastest([single, reference], _rows(row, _BATCH)) if has_batch else (alone, theirs)
    gains = theirs / alone, theirs_in_batch / in_batch
    speed = f"{gains[0]:.2g} times as fast for one row, {gains[1]:.2g} for {_BATCH} rows"
    measured = f"answers agree to {difference:.2g}; {speed}"
    if gains[0] < 1 or gains[1] < 1 / _LOSS_IN_A_BATCH:
        raise _UnprovenError(measured)
    return Decision(f"LiteRT: {measured}: served by LiteRT", proof)


def _rows_at_once(session: Session, row: _Tensors, sizes: tuple[int, ...]) -> int:
    """Return the least size of a part at which a row takes hardly longer than in larger ones; 0 for the largest."""
    seconds = [_fastest([session], _rows(row, size))[0] / size for size in sizes]
    for size, one in zip(sizes[:-1], seconds, strict=False):
        if one <= _GAIN_OF_BATCHES * min(seconds) and one * size >= _SECONDS_OF_PART:
            return size
    return 0


def _rows(row: _Tensors, count: int) -> _Tensors:
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in row.items()}


def _fastest(sessions: list[Session], feeds: _Tensors) -> list[float]:
    """Return the seconds of the fastest run in each session, measured in turn; others waited for the machine."""
    times: list[list[float]] = [[] for _ in sessions]
    end = perf_counter() + _SECONDS_OF_MEASURING * len(sessions)
    while perf_counter() < end or len(times[0]) < 3:
        for session, taken in zip(sessions, times, strict=True):
            start = perf_counter()
            session.run(DEFAULT_SIGNATURE, feeds)
            taken.append(perf_counter() - start)
    return [min(taken) for taken in times]
