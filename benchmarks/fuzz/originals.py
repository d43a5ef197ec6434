"""The models that are damaged: small ones with layers of several kinds, in every format that is served or exported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz import damage
from benchmarks.fuzz.damage import Damage
from serving.models.export_record import EXPORT_RECORD
from tests.unit import keras_files


@dataclass(frozen=True)
class Format:
    """A format: how a model is written in it, how each of its files is damaged, and whether damaged bytes are seen."""

    write: Callable[[Path], object]
    damages: dict[str, tuple[Damage, ...]]
    has_checksum: bool = False
    is_saved_model: bool = False


def feeds(columns: int) -> np.ndarray:
    """Return rows for a model of so many columns."""
    return np.linspace(-1, 2, 3 * columns, dtype=np.float32).reshape(3, columns)


def _model(package: str) -> Any:
    keras = import_module(package)
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = layers.Input((4,), name="x")
    y = layers.Dense(6, activation="relu", name="first")(x)
    y = layers.Reshape((3, 2), name="reshaped")(y)
    y = layers.Conv1D(3, 2, padding="same", name="convolved")(y)
    y = layers.Flatten(name="flat")(layers.BatchNormalization(name="normalized")(y))
    y = layers.Concatenate(name="both")([y, x])
    return keras.Model(x, layers.Dense(1, activation="sigmoid", name="last")(y), name="model")


def _archive(package: str) -> Callable[[Path], object]:
    return lambda folder: _model(package).save(folder / "model.keras")


def _whole_h5(package: str) -> Callable[[Path], object]:
    return lambda folder: _model(package).save(folder / "model.h5")


def _pair(package: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        model = _model(package)
        (folder / "model.json").write_text(model.to_json())
        model.save_weights(folder / "model.weights.h5")

    return write


def _saved_model(keep_variables: bool, keep_record: bool) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        from export import install, saved_model

        if keep_variables:
            saved_model._LARGEST_FROZEN_BYTES = 0
        install.export(_model("keras"), "keras", [], folder)
        saved_model._LARGEST_FROZEN_BYTES = 32 * 2**20
        if not keep_record:
            (folder / EXPORT_RECORD).unlink()
        shutil.rmtree(folder / "assets", ignore_errors=True)

    return write


_JSON = (*damage.BYTES[:4], *(damage.edit_json,) * 8)
_HDF5 = (*damage.BYTES, *(damage.edit_hdf5,) * 6)
_ARCHIVE = (*damage.BYTES, *(damage.edit_archive,) * 8)
_GRAPH = {"saved_model.pb": damage.BYTES}
_VARIABLES = {"variables/variables.index": damage.BYTES, "variables/variables.data-00000-of-00001": damage.BYTES}

FORMATS = {
    ".keras, Keras 3": Format(_archive("keras"), {"model.keras": _ARCHIVE}, has_checksum=True),
    ".keras, Keras 2": Format(_archive("tf_keras"), {"model.keras": _ARCHIVE}, has_checksum=True),
    ".h5, Keras 3": Format(_whole_h5("keras"), {"model.h5": _HDF5}),
    ".h5, Keras 2": Format(_whole_h5("tf_keras"), {"model.h5": _HDF5}),
    ".json and .h5, Keras 3": Format(_pair("keras"), {"model.json": _JSON, "model.weights.h5": _HDF5}),
    ".json and .h5, Keras 2": Format(_pair("tf_keras"), {"model.json": _JSON, "model.weights.h5": _HDF5}),
    ".json and .h5, 2017": Format(keras_files.write_xor_of_2017, {"model.json": _JSON, "model.h5": _HDF5}),
    "SavedModel, frozen": Format(_saved_model(False, True), _GRAPH, has_checksum=True, is_saved_model=True),
    "SavedModel, variables": Format(
        _saved_model(True, True), _GRAPH | _VARIABLES, has_checksum=True, is_saved_model=True
    ),
    "export.json": Format(_saved_model(False, True), {EXPORT_RECORD: _JSON}, is_saved_model=True),
    "SavedModel without export.json": Format(_saved_model(True, False), _GRAPH | _VARIABLES, is_saved_model=True),
}
