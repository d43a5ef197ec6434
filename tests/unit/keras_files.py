"""Files as old versions of Keras wrote them, made with h5py alone: no Keras of that age runs on today's Python.

The layouts are those of Keras 1.2.2 and 2.0.8: ``keras/engine/topology.py``, ``save_weights_to_hdf5_group``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

Config = dict[str, Any]
Weights = Mapping[str, Sequence[np.ndarray]]

# A trained XOR net of the article's shape: weights of this size put every answer within 0.02 of the right one.
XOR_WEIGHTS = {
    "dense_1": [np.array([[6.1, -5.2], [6.3, -5.3]], np.float32), np.array([-2.7, 7.9], np.float32)],
    "dense_2": [np.array([[8.9], [8.7]], np.float32), np.array([-13.1], np.float32)],
}


def xor_answers(rows: ArrayLike) -> np.ndarray:
    """Return what the XOR net answers, calculated in float64 by NumPy."""

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    (w1, b1), (w2, b2) = ([array.astype(np.float64) for array in XOR_WEIGHTS[name]] for name in ("dense_1", "dense_2"))
    return sigmoid(sigmoid(np.asarray(rows, np.float64) @ w1 + b1) @ w2 + b2)


def write_h5(
    path: Path, weights: Weights, keras_version: str | None = None, model_config: Config | None = None
) -> None:
    """Write a weights file, or a whole model's with ``model_config``; strings are bytes, as Python 2 wrote them."""
    with h5py.File(path, "w") as file:
        group = file
        if model_config is not None:
            file.attrs["model_config"] = json.dumps(model_config).encode()
            group = file.create_group("model_weights")
        for holder in {file, group}:
            if keras_version:
                holder.attrs["keras_version"] = keras_version.encode()
                holder.attrs["backend"] = b"tensorflow"
        group.attrs["layer_names"] = np.array([name.encode() for name in weights])
        for layer, arrays in weights.items():
            names = [f"{layer}/{kind}:0" for kind in ("kernel", "recurrent_kernel", "bias")]
            names = names[: len(arrays)] if len(arrays) != 2 else [names[0], names[2]]
            layer_group = group.create_group(layer)
            layer_group.attrs["weight_names"] = np.array([name.encode() for name in names])
            for name, array in zip(names, arrays, strict=True):
                layer_group[name] = array


def keras2_dense(name: str, units: int, columns: int | None = None) -> Config:
    """Return a Dense layer as Keras 2.0 described it."""
    config: Config = {
        "name": name,
        "trainable": True,
        "units": units,
        "activation": "sigmoid",
        "use_bias": True,
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal", "seed": None},
        },
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        **dict.fromkeys(("kernel_regularizer", "bias_regularizer", "activity_regularizer")),
        **dict.fromkeys(("kernel_constraint", "bias_constraint")),
    }
    if columns:
        config.update(batch_input_shape=[None, columns], dtype="float32")
    return {"class_name": "Dense", "config": config}


def keras1_dense(name: str, units: int, columns: int | None = None) -> Config:
    """Return a Dense layer as Keras 1.2 described it."""
    config: Config = {
        "name": name,
        "trainable": True,
        "output_dim": units,
        "init": "glorot_normal",
        "activation": "sigmoid",
        "bias": True,
        "input_dim": columns,
        **dict.fromkeys(("W_regularizer", "b_regularizer", "activity_regularizer", "W_constraint", "b_constraint")),
    }
    if columns:
        config.update(batch_input_shape=[None, columns], input_dtype="float32")
    return {"class_name": "Dense", "config": config}


def sequential(*layers: Config, **members: str) -> Config:
    """Return a Sequential as Keras 1 and 2.0 described it: its config is the list of layers."""
    return {"class_name": "Sequential", "config": list(layers), **members}


def write_pair(folder: Path, description: Config, weights: Weights, keras_version: str | None = None) -> Path:
    """Write ``model.json`` and ``model.h5`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(description))
    write_h5(folder / "model.h5", weights, keras_version)
    return folder


def write_xor_of_2017(folder: Path) -> Path:
    """Write the article's pair: Keras 2.0.8, a Sequential's config as a list."""
    description = sequential(
        keras2_dense("dense_1", 2, 2), keras2_dense("dense_2", 1), keras_version="2.0.8", backend="tensorflow"
    )
    return write_pair(folder, description, XOR_WEIGHTS, "2.0.8")
