"""Weights that Keras 0 and 1 wrote, put into the model that was made from its rewritten description."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tf_keras.src.saving.legacy import hdf5_format

# How many arrays Keras 0 and 1 kept for layers that have fewer weights today: a kernel for each gate.
_MORE = {"LSTM": 12, "GRU": 9, "ConvLSTM2D": 12}

# Where wrappers have their layers.
_WRAPPED = ("layer", "forward_layer", "backward_layer")


def load(model: Any, weights: Path, order: list[str] | None, version: tuple[int, ...]) -> None:
    """Set a model's weights from an HDF5 file of Keras 0 to 2; ``order`` is that of ``topology.functional``.

    Raises ValueError where they don't fit.
    """
    with h5py.File(weights) as file:
        root = file.get("model_weights", file)
        pairs = _by_layer(model, order, root) if "layer_names" in root.attrs else _in_one_row(model, order or [], root)
        for layer, arrays in pairs:
            _set(layer, arrays, version)


def _set(layer: Any, arrays: list[Any], version: tuple[int, ...]) -> None:
    """Set the weights of a layer; those of a model came in two rows, of what was trained and of the rest.

    Before Keras 1.0.3 they came in one, layer by layer.
    """
    if not hasattr(layer, "layers"):
        fixed = _FIXES.get(type(layer).__name__, _unchanged)(layer, arrays)
        layer.set_weights(hdf5_format.preprocess_weights_for_loading(layer, fixed, str(max(version[0], 1))))
        return
    in_first_row = _size if version < (1, 0, 3) else _trained
    sizes = [(in_first_row(inner, version), _size(inner, version)) for inner in layer.layers]
    trained = sum(size for size, _ in sizes)
    rows = [arrays[:trained], arrays[trained:]]
    for inner, (size, whole) in zip(layer.layers, sizes, strict=True):
        _set(inner, rows[0][:size] + rows[1][: whole - size], version)
        rows = [rows[0][size:], rows[1][whole - size :]]
    if any(rows):
        raise ValueError(f"it has more weights than the layer {layer.name!r}")


def _size(layer: Any, version: tuple[int, ...]) -> int:
    """Return how many arrays were kept for a layer."""
    inner = getattr(layer, "layers", None) or [getattr(layer, key) for key in _WRAPPED if hasattr(layer, key)]
    if inner:
        return sum(_size(one, version) for one in inner)
    return (version < (2,) and _MORE.get(type(layer).__name__)) or len(layer.weights)


def _trained(layer: Any, version: tuple[int, ...]) -> int:
    if hasattr(layer, "layers"):
        return sum(_trained(inner, version) for inner in layer.layers)
    return _size(layer, version) - len(layer.non_trainable_weights) if layer.trainable_weights else 0


def _by_layer(model: Any, order: list[str] | None, root: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each layer with its arrays, from the groups in which Keras 1 kept them."""
    names = [_text(name) for name in root.attrs["layer_names"]]
    groups = {name: [root[name][_text(one)][()] for one in root[name].attrs["weight_names"]] for name in names}
    if order is None:
        layers = [layer for layer in model.layers if layer.weights]
        names = [name for name in names if groups[name]]
    else:
        layers = [model.get_layer(name) for name in order or names]
    if {id(layer) for layer in model.layers if layer.weights} - {id(layer) for layer in layers}:
        raise ValueError("it lacks the weights of some layers")
    if len(layers) != len(names):
        raise ValueError(f"it has weights of {len(names)} layers, the model has {len(layers)}")
    for layer, name in zip(layers, names, strict=True):
        yield layer, groups[name]


def _in_one_row(model: Any, order: list[str], root: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each layer with its arrays, from the row of arrays that Keras 0 kept."""
    groups = [root["graph"]] if "graph" in root else [root[f"layer_{n}"] for n in range(len(root))]
    row = [group[f"param_{n}"][()] for group in groups for n in range(len(group))]
    for name in order:
        layer = model.get_layer(name)
        size = _size(layer, (0,))
        yield layer, row[:size]
        row = row[size:]
    if row:
        raise ValueError("it has more weights than the model")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _unchanged(_layer: Any, arrays: list[Any]) -> list[Any]:
    return arrays


def _spread(layer: Any, arrays: list[Any]) -> list[Any]:
    """Give each element its weight, where elements shared one: the description left out which did."""
    return [np.broadcast_to(array, weight.shape) for array, weight in zip(arrays, layer.weights, strict=True)]


def _conv_lstm(layer: Any, arrays: list[Any]) -> list[Any]:
    """Join the kernels of gates; ``tf_keras`` joins those in Theano's order of dimensions along the wrong one."""
    if layer.data_format == "channels_first":
        arrays = [array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for array in arrays]
    return [np.concatenate([arrays[gate + part] for gate in (0, 6, 3, 9)], axis=-1) for part in range(3)]


def _separable(layer: Any, arrays: list[Any]) -> list[Any]:
    is_first = layer.data_format == "channels_first"
    return [array.transpose(2, 3, 1, 0) if is_first and array.ndim == 4 else array for array in arrays]


def _kernels_first(_layer: Any, arrays: list[Any]) -> list[Any]:
    """Sort as Keras 1.2 did; before it a bias followed its kernel."""
    return sorted(arrays, key=lambda array: -array.ndim)


_FIXES: dict[str, Callable[[Any, list[Any]], list[Any]]] = {
    "ConvLSTM2D": _conv_lstm,
    "Keras1Highway": _kernels_first,
    "Keras1ParametricSoftplus": _spread,
    "Keras1SReLU": _spread,
    "PReLU": _spread,
    "SeparableConv2D": _separable,
}
