"""One model: saved by Keras in each format, exported, run by the engine, and compared with the answers of Keras."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export import install, load
from export.safety import Trust
from serving.engines.graph import UnsafeGraphError
from serving.engines.session import Session, load_session
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.models import export_record
from serving.models.export_record import ExportRecord, SourceError

_BATCHES = (1, 5)
_WORDS = np.array([b"the", b"quick", b"fox", b"a quick the", b""], object)

# By kind of input: the dtype that the model is built with, and random values of a shape.
KINDS: dict[str, tuple[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]]] = {
    "number": ("float32", lambda random, shape: random.standard_normal(shape)),
    "half": ("float16", lambda random, shape: random.standard_normal(shape)),
    "positive": ("float32", lambda random, shape: random.uniform(0.1, 0.9, shape)),
    "pixel": ("float32", lambda random, shape: random.uniform(0, 255, shape)),
    "byte": ("uint8", lambda random, shape: random.integers(0, 256, shape)),
    "index": ("int32", lambda random, shape: random.integers(0, 4, shape)),
    "truth": ("bool", lambda random, shape: random.integers(0, 2, shape)),
    "word": ("string", lambda random, shape: random.choice(_WORDS, shape)),
}


_LONGEST_REASON = 200  # characters


class WrongError(Exception):
    """The engine's answer is not that of Keras; the message says how they differ."""


@dataclass(frozen=True)
class Tensor:
    """An input of a model: its shape without the batch, and the kind of its values."""

    shape: tuple[int, ...]
    kind: str = "number"

    def input(self, keras: Any, name: str) -> Any:
        """Return the Keras input of this shape."""
        return keras.Input(self.shape, dtype=KINDS[self.kind][0], name=name)

    def random(self, random: np.random.Generator, rows: int) -> np.ndarray:
        """Return a batch of random values."""
        dtype, draw = KINDS[self.kind]
        return draw(random, (rows, *self.shape)).astype(object if dtype == "string" else dtype)


class Check(NamedTuple):
    """Inputs of a model, and what Keras answers, in the model's order."""

    feeds: list[np.ndarray]
    answers: list[np.ndarray]
    largest: float  # relative difference


@dataclass(frozen=True)
class Cell:
    """What became of a model in one format: a verdict, the reason, and the largest relative difference."""

    verdict: str  # right, refused, wrong, failed; unsaved or lost, where Keras itself can't write or read the file
    reason: str = ""
    difference: float = 0.0


@dataclass(frozen=True)
class Case:
    """How to build a model with ``keras`` or ``tf_keras``, and its inputs in the order of their names."""

    build: Callable[[Any], Any]
    inputs: tuple[Tensor, ...]
    formats: tuple[str, ...] = ()  # all, if none is named
    trust: Trust = field(default_factory=Trust)
    batches: tuple[int, ...] = _BATCHES
    largest: float = 1e-5  # relative difference

    def verdicts(self, library: str) -> dict[str, Cell]:
        """Return what becomes of the model in each format that its Keras can save it in."""
        keras = __import__(library)
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = self.build(keras)
        perturb(model)
        cells: dict[str, Cell] = {}
        with tempfile.TemporaryDirectory() as scratch:
            folders = {name: Path(scratch) / str(place) for place, name in enumerate(FORMATS[library])}
            for name in self.formats or FORMATS[library]:
                cells |= _saved(model, library, name, folders[name])
            # After saving: a stateful model's answers change what would be saved.
            random = np.random.default_rng(1)
            trials = [[tensor.random(random, rows) for tensor in self.inputs] for rows in self.batches]
            checks = [Check(feeds, _answers(model, feeds), self.largest) for feeds in trials]
            for name in [name for name in folders if folders[name].exists() and name not in cells]:
                cells[name] = found = verdict(folders[name], self.trust, checks)
                if found.verdict in ("refused", "wrong") and _is_lost(found, keras, folders[name], self.trust, checks):
                    other = "Keras's own file gives other answers than the model"
                    cells[name] = Cell("lost", other if found.verdict == "wrong" else found.reason)
        return cells


def _save_pair(name: str) -> Callable[[Any, Path], None]:
    def save(model: Any, folder: Path) -> None:
        (folder / "model.json").write_text(model.to_json())
        model.save_weights(folder / name)

    return save


_ARCHIVE: Callable[[Any, Path], None] = lambda model, folder: model.save(folder / "model.keras")  # noqa: E731
_WHOLE: Callable[[Any, Path], None] = lambda model, folder: model.save(folder / "model.h5")  # noqa: E731

FORMATS: dict[str, dict[str, Callable[[Any, Path], None]]] = {
    "keras": {
        ".keras": _ARCHIVE,
        ".h5": _WHOLE,
        ".json + .weights.h5": _save_pair("model.weights.h5"),
        "SavedModel": lambda model, folder: model.export(folder, verbose=False),
    },
    "tf_keras": {
        ".keras": _ARCHIVE,
        ".h5": _WHOLE,
        ".json + .h5": _save_pair("model.h5"),
        ".json + .weights.h5": _save_pair("model.weights.h5"),
        "SavedModel": lambda model, folder: model.save(folder, save_format="tf"),
    },
}


def perturb(model: Any) -> None:
    """Give weights that are constant after initialization, statistics and biases among them, random values."""
    random = np.random.default_rng(0)
    weights = model.get_weights()
    for index, weight in enumerate(weights):
        if weight.dtype.kind == "f" and weight.size and weight.min() == weight.max():
            weights[index] = weight + 0.1 * np.abs(random.standard_normal(weight.shape)).astype(weight.dtype)
    model.set_weights(weights)


def _saved(model: Any, library: str, name: str, folder: Path) -> dict[str, Cell]:
    folder.mkdir()
    try:
        FORMATS[library][name](model, folder)
    except Exception as error:
        return {name: Cell("unsaved", one_line(error))}
    return {}


def _answers(model: Any, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """Return what Keras answers, outputs in the order of their names; it differs from ``model(x)`` where it rounds."""
    model.jit_compile = False
    names = getattr(model, "_inputs_struct", None)
    arguments: Any = dict(zip(sorted(names), feeds, strict=True)) if isinstance(names, dict) else feeds
    outputs = model.predict_on_batch(arguments[0] if len(feeds) == 1 and isinstance(arguments, list) else arguments)
    return [np.asarray(array) for array in _leaves(outputs)]


def _leaves(outputs: Any) -> Iterator[Any]:
    if isinstance(outputs, dict | list | tuple):
        for item in [outputs[key] for key in sorted(outputs)] if isinstance(outputs, dict) else outputs:
            yield from _leaves(item)
    else:
        yield outputs


def verdict(folder: Path, trust: Trust, checks: list[Check]) -> Cell:
    """Return what becomes of the model in a folder when it is exported and served."""
    try:
        session, model = _served(folder, trust)
        with closing(session):
            differences = [_difference(session, model, check) for check in checks]
    except (SourceError, UnsafeGraphError) as error:
        return Cell("refused", one_line(error))
    except WrongError as error:
        return Cell("wrong", str(error))
    except Exception as error:
        return Cell("failed", f"{type(error).__name__}: {one_line(error)}")
    return Cell("right", "", max(differences))


def _served(folder: Path, trust: Trust) -> tuple[Session, Any]:
    """Export the model as ``python -m export`` does, unless it is a SavedModel, and load it as the app does."""
    sources, model = export_record.find_sources(folder), None
    if sources:
        model, version = load.load_model(sources, trust)
        install.export(model, version, sources, folder, engine="tensorflow")
    return load_session(folder, "c", ExportRecord.read(folder).load_options()), model


def _difference(session: Session, model: Any, check: Check) -> float:
    signature = session.signatures[DEFAULT_SIGNATURE]
    inputs = _in_order(signature.inputs, getattr(model, "input_names", ()))
    # The engine takes the signature's dtypes only; the app converts numbers to them.
    feeds = [array.astype(signature.inputs[name].dtype) for name, array in zip(inputs, check.feeds, strict=True)]
    fetches = session.run(DEFAULT_SIGNATURE, dict(zip(inputs, feeds, strict=True)))
    outputs = _in_order(fetches, getattr(model, "output_names", ()))
    pairs = zip((fetches[name] for name in outputs), check.answers, strict=True)
    return max(relative_difference(got, answer, check.largest) for got, answer in pairs)


def _in_order(found: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that the signature has, in the model's order, or sorted where the model has others."""
    clean = [re.sub(r"\W", "_", name) for name in names]
    return clean if sorted(clean) == sorted(found) else sorted(found)


def _is_lost(found: Cell, keras: Any, folder: Path, trust: Trust, checks: list[Check]) -> bool:
    """Tell whether Keras, or TensorFlow for a SavedModel, does not get the same model back from its file either."""
    if "--allow-lambda" in found.reason or "--custom-objects" in found.reason:  # refused for its code
        return False
    try:
        with keras.utils.custom_object_scope(dict(trust.custom_objects)):
            answer = _reread(keras, folder)
        for check in checks:
            for got, array in zip(answer(check.feeds), check.answers, strict=True):
                relative_difference(got, array, check.largest)
    except Exception:
        return True
    return False


def _reread(keras: Any, folder: Path) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    if (folder / "saved_model.pb").exists() and not export_record.find_sources(folder):
        import tensorflow as tf

        signature = tf.saved_model.load(str(folder)).signatures[DEFAULT_SIGNATURE]
        names = sorted(signature.structured_input_signature[1])
        return lambda feeds: [
            np.asarray(array) for array in _leaves(signature(**dict(zip(names, map(tf.constant, feeds), strict=True))))
        ]
    sources = export_record.find_sources(folder)
    if len(sources) == 2:
        model = keras.models.model_from_json(sources[0].read_text())
        model.load_weights(sources[1])
    else:
        model = keras.models.load_model(sources[0], compile=False)
    return partial(_answers, model)


def relative_difference(got: np.ndarray, expected: np.ndarray, largest: float) -> float:
    """Return the largest difference in relation to the largest number; raises WrongError where it is too large."""
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        raise WrongError(f"{got.dtype}{list(got.shape)} instead of {expected.dtype}{list(expected.shape)}")
    if got.dtype.kind in "iubO":
        if not np.array_equal(got, expected):
            raise WrongError(f"{np.mean(got != expected):.0%} of the values differ")
        return 0.0
    largest = largest if got.dtype.itemsize >= 4 else 1e-2
    got, expected = got.astype(complex), expected.astype(complex)
    finite = np.isfinite(expected)
    if not finite.any() or not np.array_equal(got[~finite].astype(str), expected[~finite].astype(str)):
        raise WrongError("no finite number, or not where Keras has them")
    difference = float(np.abs(got - expected)[finite].max() / max(np.abs(expected[finite]).max(), 1e-30))
    if not difference <= largest:
        raise WrongError(f"differs by {difference:.2g} of the largest number")
    return difference


def one_line(error: Exception) -> str:
    """Return an error's text on one line, without paths that differ each time."""
    text = re.sub(r"\x1b\[\d+m|\S*/tmp/\S*/| at 0x[0-9a-f]+", "", str(error))
    text = " ".join(text.split()).partition(" defined at (most recent call last)")[0]  # what follows are paths
    return text[:_LONGEST_REASON] or type(error).__name__
