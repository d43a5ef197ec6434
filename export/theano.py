"""Kernels that Keras wrote under Theano: its convolutions flip them, TensorFlow's do not.

Keras 2.0 to 2.3 flipped them on loading (``preprocess_weights_for_loading`` in ``keras/engine/topology.py``);
``tf_keras`` no longer does. Separable, depthwise and locally connected layers were never flipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from export import keras1
from serving.models.export_record import SourceError

# The layers, and which of their weights are kernels of a convolution.
_KERNELS = {
    "Conv1D": (0,),
    "Conv2D": (0,),
    "Conv3D": (0,),
    "Conv2DTranspose": (0,),
    "Conv3DTranspose": (0,),
    "ConvLSTM2D": (0, 1),  # kernel, recurrent kernel
}


def correct(model: Any, description: dict[str, Any], weights: Path) -> None:
    """Make a loaded model compute as Theano did, where Theano computed it; raises SourceError where it can't."""
    if _wrote(description, weights):
        _check_padding(model)
        _flip_kernels(model)


def _wrote(description: dict[str, Any], weights: Path) -> bool:
    """Return whether Theano computed the model: by ``backend``, or in Keras 1 by the weights' names."""
    if description.get("backend"):
        return bool(description["backend"] == "theano")
    return keras1.is_keras1(description) and not _has_tensorflow_names(weights)


def _has_tensorflow_names(weights: Path) -> bool:
    """Tell whether weights are named as TensorFlow names its variables: ``dense_1_W:0``."""
    names: list[str] = []
    with h5py.File(weights) as file:
        file.visit(names.append)
    return any(name.endswith(":0") for name in names)


def _check_padding(model: Any) -> None:
    """Raise SourceError for padding that Theano does at other places than TensorFlow, so that answers would differ."""
    for layer in _layers(model):
        if type(layer).__name__ == "ConvLSTM2D" and set(layer.dilation_rate) != {1}:
            raise SourceError(f"layer {layer.name!r} is a dilated ConvLSTM2D, which Theano computed otherwise")
        if getattr(layer, "padding", None) != "same":
            continue
        kernel, strides = getattr(layer, "kernel_size", None), _numbers(getattr(layer, "strides", 1))
        is_even = kernel is not None and any(size % 2 == 0 for size in _numbers(kernel))
        if kernel is None or is_even or set(strides) != {1} or "Transpose" in type(layer).__name__:
            raise SourceError(
                f"layer {layer.name!r} pads by 'same', which Theano did at another place than TensorFlow does. "
                "Use ZeroPadding layers and 'valid' instead, and save the model again"
            )


def _numbers(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _flip_kernels(model: Any) -> None:
    """Reverse the spatial axes of every convolution's kernel in a loaded model."""
    for layer in _layers(model):
        places = _KERNELS.get(type(layer).__name__, ())
        if places:
            weights = layer.get_weights()
            for place in places:
                spatial = tuple(range(weights[place].ndim - 2))
                weights[place] = np.flip(weights[place], spatial)
            layer.set_weights(weights)


def _layers(layer: Any) -> Iterator[Any]:
    """Yield every layer in a model once, wrapped ones too."""
    seen: dict[int, Any] = {}
    for inner in (layer, *layer._flatten_layers()):
        seen[id(inner)] = inner
    yield from seen.values()
