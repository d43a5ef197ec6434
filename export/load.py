"""From the files of a model to a Keras model that is ready to predict, whichever Keras wrote them.

Keras 3 reads its own; Keras 2 (``tf_keras``, a development dependency) reads what Keras 0 to 2 wrote. Neither reads a
file before ``safety``, ``archive`` and ``hdf5`` have checked it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py

from export import archive, files, hdf5, keras1, safety, theano, topology
from export.safety import Trust, Vocabulary
from serving.models.export_record import SourceError

_LONGEST_REASON = 300  # characters of Keras's own error text that a message repeats

# Formats that keep what JSON and HDF5 lose: some arguments of layers and of operators.
_ADVICE = {"keras": "as .keras", "tf_keras": "as a SavedModel, by model.export"}


def load_model(sources: list[Path], trust: Trust) -> tuple[Any, str]:
    """Return the Keras model in the sources, and name and version of the Keras that read them.

    ``sources`` is architecture and weights, or one file of both (see ``export_record.SOURCES``). Raises SourceError
    naming the file and what is wrong with it.
    """
    with _named(sources[0]):
        description = files.describe(sources[0])
    weights = sources[-1]
    if files.kind(weights) == "hdf5":
        with _named(weights):
            hdf5.check(weights)
            description = files.attributes(weights) | description
    is_keras3 = _is_keras3(description)
    keras = _import("keras" if is_keras3 else "tf_keras")
    model = (_load_keras3 if is_keras3 else _load_keras2)(keras, sources, description, trust)
    return model, f"{keras.__name__} {keras.__version__}"


def _load_keras3(keras: ModuleType, sources: list[Path], description: dict[str, Any], trust: Trust) -> Any:
    with _named(sources[0]):
        description.setdefault("module", "keras")
        checked = safety.checked(description, trust, Vocabulary.of(keras))
        topology.number_nodes(checked, keras1.version_of(description))
    with _trusting(keras, trust):
        model = _load(keras, sources, checked, _load_weights)
    from export import keras3_layers  # which imports keras

    keras3_layers.correct(model)
    return model


def _load_keras2(keras: ModuleType, sources: list[Path], description: dict[str, Any], trust: Trust) -> Any:
    from export import keras1_layers, keras1_weights, spatial  # which import tf_keras

    with _named(sources[0]):
        modern, order = keras1.modernized(description)
        is_theano = theano.computed(modern, sources[-1])
        as_theano = spatial.theano(keras1.version_of(modern)) if is_theano else {}
        own = keras1_layers.BY_NAME | spatial.PORTABLE | as_theano
        checked = safety.checked(modern, trust, Vocabulary.of(keras, own))
    version = keras1.version_of(modern)
    load_weights = (
        partial(keras1_weights.load, order=order, version=version)
        if keras1.is_keras1(modern) or order
        else _load_weights
    )
    with keras.utils.custom_object_scope(own), _trusting(keras, trust):
        model = _load(keras, sources, checked, load_weights)
    with _named(sources[0]):
        keras1.std_to_variance(model, modern)
        if is_theano:
            theano.correct(model, modern)
    return model


def _load(keras: ModuleType, sources: list[Path], description: dict[str, Any], load_weights: Any) -> Any:
    weights = sources[-1]
    if files.kind(weights) == "archive":
        with _named(weights), archive.rewritten(weights, description) as path:
            return keras.models.load_model(path, compile=False)
    with _named(sources[0], advice=f". If {keras.__name__} wrote it, save the model again: {_ADVICE[keras.__name__]}"):
        model = keras.models.model_from_json(json.dumps(description))
    with _named(weights, sources[0]):
        load_weights(model, weights)
    return model


def _load_weights(model: Any, weights: Path) -> None:
    with _under_the_name_of_its_layout(weights) as path:
        model.load_weights(path)


@contextmanager
def _trusting(keras: ModuleType, trust: Trust) -> Iterator[None]:
    """Let Keras run what the model's owner allows. The safe mode is off for the rest of the process, an export's."""
    if trust.lambda_layers:
        (keras.config if hasattr(keras, "config") else keras.__internal__).enable_unsafe_deserialization()
    with keras.utils.custom_object_scope({**safety.without_module(keras), **trust.custom_objects}):
        yield


def _import(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise SourceError(
            f"{name}, which this model needs, is not installed here. Export the model on a development machine "
            f"(make setup installs {name}) and deploy the files that the export writes"
        ) from None


def _is_keras3(description: dict[str, Any]) -> bool:
    version = keras1.major_version(description)
    # A model's JSON written by Keras 3 has no version, but says which module its class is from.
    return "module" in description if version is None else version >= 3


@contextmanager
def _under_the_name_of_its_layout(weights: Path) -> Iterator[Path]:
    """Give a path to the weights under a name from which Keras takes the right layout: it goes by the suffix."""
    with h5py.File(weights) as file:
        is_old = "layer_names" in file.attrs or "model_weights" in file
    if weights.name.endswith(".h5") and is_old != weights.name.endswith(".weights.h5"):
        yield weights
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copy(weights, Path(folder) / ("old.h5" if is_old else "new.weights.h5")))


@contextmanager
def _named(path: Path, fitting: Path | None = None, advice: str = "") -> Iterator[None]:
    """Turn whatever Keras or HDF5 raises into one line that names the file, and the one that it doesn't fit."""
    try:
        yield
    except Exception as error:
        innermost = str(error).rpartition("Exception encountered: ")[2]  # Keras 3 puts a line around for each layer
        reason = " ".join(innermost.split())[:_LONGEST_REASON].rstrip(".") or type(error).__name__
        if str(path) in reason:
            raise SourceError(reason) from error
        fits = fitting not in (None, path) and not isinstance(error, OSError | SourceError)
        what = f"{path} does not fit {fitting.name}" if fitting and fits else str(path)
        raise SourceError(f"{what}: {reason}{advice}") from error
