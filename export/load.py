"""From the files of a model to a Keras model that is ready to predict, whichever Keras wrote them.

Keras 3 reads its own; Keras 2 (``tf_keras``, a development dependency) reads what Keras 1 and 2 wrote.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py

from export import keras1, safety
from export.safety import Trust
from serving.models.export_record import SourceError

_LONGEST_REASON = 300  # characters of Keras's own error text that a message repeats


def load_model(sources: list[Path], trust: Trust) -> tuple[Any, str]:
    """Return the Keras model in the sources, and name and version of the Keras that read them.

    ``sources`` is architecture and weights, or one file of both (see ``provenance.SOURCES``). Raises SourceError naming
    the file and what is wrong with it.
    """
    description = _read_description(sources[0])
    weights = sources[-1]
    _check_readable_h5(weights)
    if _is_keras3(description):
        return _load_with_keras3(sources, description, weights, trust)
    return _load_with_keras2(sources, description, weights, trust)


def _load_with_keras3(sources: list[Path], description: dict[str, Any], weights: Path, trust: Trust) -> tuple[Any, str]:
    keras = _import("keras")
    with _named(sources[0]):
        safety.check(description, trust)
    with _trusting(keras, trust):
        with _named(sources[0]):
            if len(sources) == 1:
                return _load_whole(keras, sources[0], trust), _version(keras)
            model = keras.models.model_from_json(json.dumps(description))
        with _named(weights, sources[0]), _under_the_name_of_its_layout(weights) as path:
            model.load_weights(path)
    return model, _version(keras)


def _load_with_keras2(sources: list[Path], description: dict[str, Any], weights: Path, trust: Trust) -> tuple[Any, str]:
    keras = _import("tf_keras")
    with _named(sources[0]):
        if keras1.is_keras1(description):
            description = keras1.to_keras2(description)
        description = keras1.with_defaults_of_their_time(description)
        known = safety.Known(
            layers={*dir(keras.layers), "Sequential", "Functional", "Model"},
            activations={*dir(keras.activations), "leaky_relu"},
        )
        safety.check(description, trust, known)
    with _trusting(keras, trust):
        with _named(sources[0]):
            if sources[0].suffix == ".keras":
                return _load_whole(keras, sources[0], trust), _version(keras)
            model = keras.models.model_from_json(json.dumps(description))
        with _named(weights, sources[0]), _under_the_name_of_its_layout(weights) as path:
            model.load_weights(path)
    return model, _version(keras)


def _load_whole(keras: ModuleType, path: Path, trust: Trust) -> Any:
    return keras.models.load_model(path, compile=False, safe_mode=not trust.lambda_layers)


@contextmanager
def _trusting(keras: ModuleType, trust: Trust) -> Iterator[None]:
    """Let Keras run what the model's owner allows. The safe mode is off for the rest of the process, an export's."""
    if trust.lambda_layers:
        (keras.config if hasattr(keras, "config") else keras.__internal__).enable_unsafe_deserialization()
    with keras.utils.custom_object_scope(dict(trust.custom_objects)):
        yield


def _version(keras: ModuleType) -> str:
    return f"{keras.__name__} {keras.__version__}"


def _import(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise SourceError(
            f"{name} is needed to export this model and is not installed here. Export it where the model is developed "
            "(make setup installs all that it takes) and deploy what the export writes"
        ) from None


def _read_description(path: Path) -> dict[str, Any]:
    """Return a model's architecture as a dict, with ``keras_version`` where the file tells it."""
    if not path.is_file():
        raise SourceError(f"{path} is missing")
    readers = {".json": _read_json, ".keras": _read_keras_archive, ".h5": _read_h5_attributes}
    with _named(path):
        description = readers[path.suffix](path)
        if not isinstance(description, dict) or "class_name" not in description or "config" not in description:
            raise SourceError("it describes no Keras model")
        return description


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _read_keras_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
        return {**json.loads(archive.read("config.json")), "keras_version": metadata["keras_version"]}


def _read_h5_attributes(path: Path) -> Any:
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise SourceError("it holds weights only; model.json, the architecture, is missing beside it")
        return {**json.loads(file.attrs["model_config"]), "keras_version": _text(file.attrs.get("keras_version", ""))}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _is_keras3(description: dict[str, Any]) -> bool:
    version = keras1.major_version(description)
    # A model's JSON written by Keras 3 has no version, but says which module its class is from.
    return "module" in description if version is None else version >= 3


def _check_readable_h5(path: Path) -> None:
    if not path.is_file():
        raise SourceError(f"{path} is missing")
    if path.suffix == ".h5":
        with _named(path), h5py.File(path):
            pass


@contextmanager
def _under_the_name_of_its_layout(weights: Path) -> Iterator[Path]:
    """Give a path to the weights under a name from which Keras takes the right layout: it goes by the suffix."""
    with h5py.File(weights) as file:
        is_old = "layer_names" in file.attrs or "model_weights" in file
    if is_old != weights.name.endswith(".weights.h5"):
        yield weights
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copy(weights, Path(folder) / ("old.h5" if is_old else "new.weights.h5")))


@contextmanager
def _named(path: Path, fitting: Path | None = None) -> Iterator[None]:
    """Turn whatever Keras or HDF5 raises into one line that names the file, and the one that it doesn't fit."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".") or type(error).__name__
        what = f"{path} does not fit {fitting.name}" if fitting and not isinstance(error, OSError) else str(path)
        raise SourceError(f"{what}: {reason}") from error
