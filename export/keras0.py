"""Architectures of Keras 0.x, rewritten as those of Keras 1.

A layer was its configuration with the class as ``name``; models and layers had the same form, and names weren't unique.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

# Keras 0 computed a Merge otherwise in places (keras1 has them), and wrote no version.
VERSION = "0.3"

_DROPPED = {"name", "custom_name", "cache_enabled", "input_shape", "layers", "layer"}


def is_keras0(description: dict[str, Any]) -> bool:
    """Tell whether a model's JSON has the form of Keras 0.x."""
    return "class_name" not in description and bool({"layers", "nodes"} & set(description))


def to_keras1(model: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a model, and of all that it contains, as Keras 1 wrote it."""
    return {**_layer(model, count()), "keras_version": VERSION}


def _layer(layer: dict[str, Any], numbers: Iterator[int]) -> dict[str, Any]:
    class_name = layer["name"]
    if class_name == "Sequential":
        return {"class_name": class_name, "config": [_layer(inner, numbers) for inner in layer["layers"]]}
    if class_name == "Graph":  # whose nodes have names of their own
        nodes = {name: _layer({**node, "custom_name": name}, numbers) for name, node in layer["nodes"].items()}
        return {"class_name": class_name, "config": {**layer, "nodes": nodes}}
    config = {key: value for key, value in layer.items() if key not in _DROPPED}
    config["name"] = f"{layer.get('custom_name', class_name.lower())}_{next(numbers)}"
    if class_name == "Reshape":
        config["target_shape"] = config.pop("dims")
    if class_name == "Embedding":  # what it states as its shape is that of its weights
        config["batch_input_shape"] = [None, config.get("input_length")]
    elif "input_shape" in layer:
        config["batch_input_shape"] = [None, *layer["input_shape"]]
    if "layers" in layer:  # of Merge
        config["layers"] = [_layer(inner, numbers) for inner in layer["layers"]]
    if "layer" in layer:  # of TimeDistributed
        config["layer"] = _layer(layer["layer"], numbers)
    return {"class_name": class_name, "config": config}
