"""What Theano did otherwise: its convolutions flip their kernels, TensorFlow's do not.

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


def computed(description: dict[str, Any], weights: Path) -> bool:
    """Return whether Theano computed a model: by ``backend``, or in Keras 0 and 1 by the weights' names.

    Keras 0 gave them none; what it wrote is taken to be Theano's, its default.
    """
    if description.get("backend"):
        return bool(description["backend"] == "theano")
    return keras1.is_keras1(description) and not _has_tensorflow_names(weights)


def _has_tensorflow_names(weights: Path) -> bool:
    """Tell whether weights are named as TensorFlow names its variables: ``dense_1_W:0``."""
    names: list[str] = []
    with h5py.File(weights) as file:
        file.visit(names.append)
    return any(name.endswith(":0") for name in names)


def correct(model: Any, description: dict[str, Any]) -> None:
    """Make a model that was loaded with ``spatial.theano`` compute as Theano did; raises SourceError where it can't."""
    is_old = keras1.is_keras1(description)
    for layer in _layers(model):
        if getattr(layer, "padding", None) != "same":
            continue
        if is_old and not model.weights and keras1.version_of(description) >= (1,):
            raise SourceError(
                f"layer {layer.name!r} has padding 'same', and without weights the backend that computed it is "
                "unknown. Save the model with its weights"
            )
        if not _is_exact(layer, is_old):
            raise SourceError(
                f"layer {layer.name!r} has padding 'same', which Theano computed differently for these kernel, pool "
                "and stride sizes. Use ZeroPadding layers and 'valid' instead, and save the model again"
            )
    _flip_kernels(model)


def _is_exact(layer: Any, is_old: bool) -> bool:
    """Tell whether ``spatial.theano`` computes a layer with ``same`` padding as each version of Keras did."""
    kind = type(layer).__name__
    sizes = _numbers(getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", ()))
    is_odd = all(size % 2 for size in sizes)
    if "Pooling3D" in kind:  # cut by some versions only, where there is more to cut
        return set(sizes) == {3}
    if "Transpose" in kind:
        return is_odd and all(stride <= (size + 1) // 2 for stride, size in zip(layer.strides, sizes, strict=True))
    if "Separable" in kind or (kind == "Conv3D" and is_old):
        return is_odd
    return True


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
