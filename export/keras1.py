"""Architectures of Keras 1 and early Keras 2, rewritten as those that ``tf_keras`` reads.

What changed between them stands in Keras 2's own ``keras/legacy/interfaces.py``. Only what a prediction depends on is
carried over: initializers, regularizers and constraints are of use in training alone.
"""

from __future__ import annotations

from typing import Any

from serving.models.export_record import SourceError

_CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
}

# Layers that Keras 2 has no counterpart for.
_GONE = {"AtrousConvolution1D", "AtrousConvolution2D", "Highway", "MaxoutDense", "Merge"}

_RENAMED = {
    "bias": "use_bias",
    "border_mode": "padding",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "inner_activation": "recurrent_activation",
    "input_dtype": "dtype",
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
_DROPPED = {"consume_less", "input_dim", "input_length", "mode", "output_shape"}

# Where output_dim is what Keras 2 calls units; an Embedding's is still output_dim.
_WITH_UNITS = {"Dense", "GRU", "LSTM", "SimpleRNN"}


def major_version(description: dict[str, Any]) -> int | None:
    """Return the major version of the Keras that wrote a description; None where it doesn't say."""
    major = str(description.get("keras_version") or "").partition(".")[0]
    return int(major) if major.isdecimal() else None


def is_keras1(architecture: dict[str, Any]) -> bool:
    """Tell whether a model's JSON was written by Keras 1, by its version or, without one, by its spelling."""
    version = major_version(architecture)
    if version is not None:
        return version <= 1
    return any("nb_filter" in layer["config"] or "bias" in layer["config"] for layer in layers_of(architecture))


def to_keras2(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer or model of Keras 1 as Keras 2 describes it, with all that it contains.

    Raises SourceError for a layer that Keras 2 has no counterpart for.
    """
    class_name, config = layer["class_name"], layer["config"]
    if class_name in _GONE:
        name = config.get("name", class_name) if isinstance(config, dict) else class_name
        raise SourceError(f"layer {name!r} is a Keras 1 {class_name}, which has no counterpart in later versions")
    if layers_of(layer):
        return {**layer, "config": _with_layers(config, [to_keras2(inner) for inner in layers_of(layer)])}
    return {**layer, "class_name": _CLASSES.get(class_name, class_name), "config": _config(class_name, config)}


def with_defaults_of_their_time(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer or model of Keras 1 or 2 with the arguments whose defaults have changed since written out."""
    config = layer["config"]
    if layers_of(layer):
        inner = [with_defaults_of_their_time(inner) for inner in layers_of(layer)]
        return {**layer, "config": _with_layers(config, inner)}
    if isinstance(config.get("layer"), dict):  # TimeDistributed, Bidirectional
        config = {**config, "layer": with_defaults_of_their_time(config["layer"])}
    if layer["class_name"] == "GRU":  # Keras 2.1.3 brought the argument, TensorFlow 2 made it True
        config = {"reset_after": False, **config}
    return {**layer, "config": config}


def layers_of(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers in a model's JSON; none where it is a plain layer. A Sequential of 2017 is the list itself."""
    config = model["config"]
    layers = config if isinstance(config, list) else config.get("layers", [])
    return [layer for layer in layers if isinstance(layer, dict) and "config" in layer]


def _with_layers(config: Any, layers: list[dict[str, Any]]) -> Any:
    return layers if isinstance(config, list) else {**config, "layers": layers}


def _config(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    if class_name == "BatchNormalization" and config.get("mode", 0) != 0:
        raise SourceError(f"layer {config['name']!r} is a BatchNormalization of mode {config['mode']}; only 0 lives on")
    renamed: dict[str, Any] = {}
    for key, value in config.items():
        if key in _DROPPED or key in _KERNEL_SIZES or key.endswith(_ONLY_FOR_TRAINING):
            continue
        if key == "dim_ordering":
            renamed["data_format"] = _DATA_FORMATS.get(value, "channels_last")
        elif key == "output_dim" and class_name in _WITH_UNITS:
            renamed["units"] = value
        elif key == "layer":
            renamed[key] = to_keras2(value)
        else:
            renamed[_RENAMED.get(key, key)] = value
    sizes = [config[key] for key in _KERNEL_SIZES if key in config]
    if sizes:
        renamed["kernel_size"] = sizes
    if class_name == "Embedding":  # the one layer that needs it
        renamed["input_dim"] = config["input_dim"]
        renamed.pop("dropout", None)
    return renamed
