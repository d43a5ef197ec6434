"""Architectures of Keras 0, 1 and early Keras 2, rewritten as those that ``tf_keras`` reads.

What changed between them stands in Keras 2's own ``keras/legacy/interfaces.py``. Only what a prediction depends on is
carried over: initializers, regularizers and constraints are of use in training alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export import keras0, topology
from export.topology import layers_of
from serving.models.export_record import SourceError

_CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",  # which takes any rank since Keras 2
}

# Layers of ``export/keras1_layers.py``, which has those that Keras 2 has no counterpart for, and their options.
_GONE: dict[str, tuple[str, ...]] = {
    "Highway": ("activation", "bias"),
    "MaxoutDense": ("output_dim", "nb_feature", "bias"),
    "ParametricSoftplus": (),
    "SReLU": (),
    "ThresholdedLinear": ("theta",),
    "TimeDistributedMerge": ("mode",),
}
_OF_EVERY_LAYER = ("name", "trainable", "batch_input_shape")

# Merge, by its mode.
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
    "cos": "Keras1Cosine",
}

_REBUILD = (
    "which later Keras versions don't support. Rebuild that part with the functional API and save the model again"
)

# Layers whose description leaves dim_ordering out in some versions.
_SPATIAL = ("Convolution2D", "Convolution3D", "MaxPooling", "AveragePooling", "UpSampling", "ZeroPadding", "Cropping")

_RENAMED = {
    "bias": "use_bias",
    "border_mode": "padding",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "inner_activation": "recurrent_activation",
    "atrous_rate": "dilation_rate",
    "nb_filter": "filters",
    "p": "rate",
    "pool_length": "pool_size",
    "sigma": "stddev",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
}

_KERNEL_SIZES = ("kernel_dim1", "kernel_dim2", "kernel_dim3", "nb_row", "nb_col")

_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}

_ONLY_FOR_TRAINING = ("init", "_init", "_regularizer", "_constraint")

# Of use to the implementation of their time, or repeated by batch_input_shape.
_DROPPED = {"consume_less", "input_dim", "input_dtype", "input_length", "mode", "output_shape"}

# Where output_dim is what Keras 2 calls units; an Embedding's is still output_dim.
_WITH_UNITS = {"Dense", "GRU", "LSTM", "SimpleRNN", "TimeDistributedDense"}

# Other names that layers had, of GPUs or in some TensorFlow; tf_keras reads their weights by the layer's plain name.
_ALIASES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "CuDNNGRU": "GRU",
    "CuDNNLSTM": "LSTM",
    "UnifiedGRU": "GRU",
    "UnifiedLSTM": "LSTM",
}

# Spellings that no later version has.
_MARKS = {"nb_filter", "bias", "input_dtype", "border_mode", "inner_activation"}


def major_version(description: dict[str, Any]) -> int | None:
    """Return the major version of the Keras that wrote a description; None where it doesn't say."""
    major = str(description.get("keras_version") or "").partition(".")[0]
    return int(major) if major.isdecimal() else None


def is_keras1(architecture: dict[str, Any]) -> bool:
    """Tell whether a model's JSON was written by Keras 1, by its version or, without one, by its spelling."""
    version = major_version(architecture)
    if version is not None:
        return version <= 1
    if architecture.get("class_name") == "Graph":  # Keras 0 and 1 had it
        return True
    if not isinstance(architecture.get("config"), dict | list):
        return False
    return any(_MARKS & set(layer["config"]) for layer in _all_layers(architecture))


def modernized(description: dict[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
    """Return the description of a model of Keras 0 to 2 as today's ``tf_keras`` reads it, and the order of its weights.

    That order is the one of ``topology.functional``. Raises SourceError for what can't be carried over.
    """
    if keras0.is_keras0(description):
        description = keras0.to_keras1(description)
    if not isinstance(description.get("config"), dict | list) or "class_name" not in description:
        raise SourceError("it does not describe a Keras model")
    is_old = is_keras1(description)
    description, order = topology.functional(description)
    if is_old:
        description = {"keras_version": "1.0", **description}
        _set_ordering(description)
        description = _to_keras2(description, version_of(description))
    return with_defaults_of_their_time(description), order


def _to_keras2(layer: dict[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    """Return a layer or model of Keras 1 as Keras 2 describes it, with all that it contains."""
    class_name, config = layer["class_name"], layer["config"]
    if class_name == "Merge":
        return _merge(layer, version)
    if class_name in _GONE:
        kept = {key: config[key] for key in (*_OF_EVERY_LAYER, *_GONE[class_name]) if key in config}
        return {**layer, "class_name": f"Keras1{class_name}", "config": kept}
    if class_name == "BatchNormalization" and config.get("mode", 0) != 0:
        return _normalization(layer, version)
    if layers_of(layer):
        return {**layer, "config": _with_layers(config, [_to_keras2(inner, version) for inner in layers_of(layer)])}
    return {**layer, "class_name": _CLASSES.get(class_name, class_name), "config": _config(class_name, config, version)}


def with_defaults_of_their_time(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer or model of Keras 1 or 2 with the arguments whose defaults have changed since written out."""
    config, class_name = layer["config"], layer["class_name"]
    if layers_of(layer):
        inner = [with_defaults_of_their_time(inner) for inner in layers_of(layer)]
        return {**layer, "config": _with_layers(config, inner)}
    if class_name == "Merge" or (class_name in _GONE and "init" in config):  # early Keras 2 still had them
        return _to_keras2(layer, (2,))
    for key in ("layer", "cell"):  # TimeDistributed, Bidirectional, RNN
        if isinstance(config.get(key), dict):
            config = {**config, key: with_defaults_of_their_time(config[key])}
    if isinstance(config.get("cells"), list):  # StackedRNNCells
        config = {**config, "cells": [with_defaults_of_their_time(cell) for cell in config["cells"]]}
    if class_name == "Embedding" and str(config.get("dtype")).startswith("int"):  # that of its input
        config = {key: value for key, value in config.items() if key != "dtype"}
    if class_name in ("GRU", "GRUCell"):  # Keras 2.1.3 brought the argument, TensorFlow 2 made it True
        config = {"reset_after": False, **config}
    if layer["class_name"] == "CuDNNGRU":
        config = {**config, "reset_after": True}
    return {**layer, "class_name": _ALIASES.get(layer["class_name"], layer["class_name"]), "config": config}


def _with_layers(config: Any, layers: list[dict[str, Any]]) -> Any:
    return layers if isinstance(config, list) else {**config, "layers": layers}


def _all_layers(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the plain layers in a model, those of models in it and those that others wrap too."""
    for layer in layers_of(model):
        if layers_of(layer):
            yield from _all_layers(layer)
        elif isinstance(layer["config"], dict):
            yield layer
            if isinstance(layer["config"].get("layer"), dict):
                yield from _all_layers({"config": [layer["config"]["layer"]]})


def _set_ordering(model: dict[str, Any]) -> None:
    """Write the order of dimensions into layers that leave it out; raises SourceError if no layer states it."""
    stated = {layer["config"].get("dim_ordering") for layer in _all_layers(model)} - {None}
    for layer in _all_layers(model):
        config, class_name = layer["config"], layer["class_name"]
        if class_name.startswith(_SPATIAL) and not class_name.endswith("1D") and "dim_ordering" not in config:
            if len(stated) != 1:
                raise SourceError(
                    f'layer {config.get("name")!r} has no dim_ordering. Add "dim_ordering": "tf" (channels last) or '
                    '"th" (channels first) to its config in the JSON'
                )
            config["dim_ordering"] = next(iter(stated))
        if class_name == "ZeroPadding2D" and version_of(model) < (1, 2):
            config["padding"] = config.get("padding", (1, 1))[:2]  # what it took of four


def version_of(description: dict[str, Any]) -> tuple[int, ...]:
    """Return the version of the Keras that wrote a description, (1, 0) where it doesn't say."""
    return tuple(int(part) for part in str(description.get("keras_version") or "1.0").split(".") if part.isdecimal())


def _merge(layer: dict[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    config = layer["config"]
    name, mode = config.get("name", "merge"), config.get("mode")
    problem = _problem_of_merge(config)
    if problem:
        raise SourceError(f"layer {name!r} {problem}, {_REBUILD}")
    merged = {"name": name, "trainable": config.get("trainable", True)}
    if mode == "concat":
        merged["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        merged["axes"] = _dot_axes(config.get("dot_axes", -1), name)
    elif mode == "cos":
        merged["as_matrix"] = version >= (1,)
    return {**layer, "class_name": _MERGES[mode], "config": merged}


def _problem_of_merge(config: dict[str, Any]) -> str | None:
    """Return why a Merge has no counterpart in Keras 2; None if it has one."""
    mode = config.get("mode")
    if config.get("mode_type", "raw") != "raw" or not isinstance(mode, str | None):
        return "merges with a function of its own"
    if mode not in _MERGES:
        return f"has the unknown merge mode {mode!r}"
    return "begins a Sequential inside another model" if config.get("layers") else None


def _dot_axes(axes: Any, name: str) -> Any:
    """Return the axes of a dot product, which were lists of several axes in Keras 0."""
    if not isinstance(axes, list):
        return axes
    flat = [axis[0] if isinstance(axis, list) and len(axis) == 1 else axis for axis in axes]
    if any(isinstance(axis, list) for axis in flat):
        raise SourceError(f"layer {name!r} merges with 'dot' over several axes, {_REBUILD}")
    return flat


def _normalization(layer: dict[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    """Return a BatchNormalization of a mode that normalizes by what it is given."""
    config = layer["config"]
    mode, epsilon = config["mode"], config["epsilon"]
    kept = {key: config[key] for key in (*_OF_EVERY_LAYER, "mode", "axis") if key in config}
    if mode == 1:
        kept |= {"within": epsilon if version >= (1, 0, 5) else 0, "beside": epsilon}
    else:
        kept |= {"within": epsilon, "beside": 0 if version >= (1, 0, 6) else epsilon}
    return {**layer, "class_name": "Keras1Normalization", "config": kept}


def std_to_variance(model: Any, description: dict[str, Any]) -> None:
    """Correct the batch normalizations of a model that Keras 1.0.5 or older wrote: it stored the standard deviation."""
    if not is_keras1(description) or version_of(description) >= (1, 0, 6):
        return
    for layer in model._flatten_layers():
        if type(layer).__name__ == "BatchNormalization":
            layer.moving_variance.assign((layer.moving_variance + layer.epsilon) ** 2 - layer.epsilon)


def _config(class_name: str, config: dict[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in config.items():
        if key == "output_shape" and class_name == "Deconvolution2D":
            renamed["stated_shape"] = value
        if key in _DROPPED or key in _KERNEL_SIZES or key.endswith(_ONLY_FOR_TRAINING):
            continue
        if key == "dim_ordering":
            renamed["data_format"] = _DATA_FORMATS.get(value, "channels_last")
        elif key == "output_dim" and class_name in _WITH_UNITS:
            renamed["units"] = value
        elif key == "layer":
            renamed[key] = _to_keras2(value, version)
        else:
            renamed[_RENAMED.get(key, key)] = value
    if class_name == "UpSampling1D" and "length" in renamed:
        renamed["size"] = renamed.pop("length")
    if class_name == "ZeroPadding2D" and len(config.get("padding", ())) == 4:
        top, bottom, left, right = config["padding"]
        renamed["padding"] = [[top, bottom], [left, right]]
    sizes = [config[key] for key in _KERNEL_SIZES if key in config]
    if sizes:
        renamed["kernel_size"] = sizes
    if class_name == "Embedding":  # the one layer that needs it
        renamed["input_dim"] = config["input_dim"]
        renamed.pop("dropout", None)
    return renamed
