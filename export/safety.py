"""What a model's description may name. Loading a model must not run code that came with it.

Looks at the JSON before Keras does, so that nothing in it has been acted on when it is refused. Keras's own safe mode
stays on below this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from serving.models.export_record import SourceError

# Layers whose configuration holds or names code: marshalled Python, pickled modules, other SavedModels.
_HOLD_CODE = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "NnxLayer"}

# Keras 2 stores operators on tensors (x * 2, tf.nn.relu(x)) as layers which name a function of TensorFlow's API; these
# parts of it only compute.
_OPERATOR_LAYERS = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}
_ONLY_COMPUTE = ("math.", "nn.", "linalg.", "image.", "strings.", "signal.", "__operators__.")
_ONLY_COMPUTE_NAMES = {
    *("cast", "clip_by_value", "compat.v1.transpose", "concat", "convert_to_tensor", "expand_dims", "identity"),
    *("ones_like", "pad", "reshape", "shape", "slice", "split", "squeeze", "stack", "tile", "transpose", "unstack"),
    *("where", "zeros_like", "gather", "one_hot", "range", "reverse", "sequence_mask"),
}


@dataclass(frozen=True)
class Trust:
    """What the owner of a model lets it run: its Lambda layers' code, and classes and functions of their own."""

    lambda_layers: bool = False
    custom_objects: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What the Keras that is to read a description has; Keras 1 and 2 did not write where a class is from."""

    layers: Set[str]
    activations: Set[str]


def check(description: Any, trust: Trust, known: Known | None = None) -> None:
    """Raise SourceError naming the first layer that would run code beyond Keras's own, and the flag to allow it.

    ``known`` is for descriptions of Keras 1 and 2.
    """
    for layer_name, node in _objects(description, "model"):
        _check_object(layer_name, node, trust, known)


def _objects(node: Any, layer_name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every serialized object in a description, with the name of the layer that it is or belongs to."""
    if isinstance(node, dict):
        config = node.get("config")
        if "class_name" in node:
            if isinstance(config, dict) and isinstance(config.get("name"), str):
                layer_name = config["name"]
            yield layer_name, node
        for value in node.values():
            yield from _objects(value, layer_name)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value, layer_name)


def _check_object(layer_name: str, node: dict[str, Any], trust: Trust, known: Known | None) -> None:
    class_name = str(node["class_name"])
    if class_name in _HOLD_CODE or class_name == "__lambda__":
        if not trust.lambda_layers:
            raise SourceError(
                f"layer {layer_name!r} is a {class_name.strip('_')}: it runs code that came with the model. "
                "If you trust it, export with --allow-lambda"
            )
    elif class_name in _OPERATOR_LAYERS:
        _check_operator(layer_name, node)
    else:
        custom = _custom_name(node) or (_unknown_name(node, known) if known else None)
        if custom and custom not in trust.custom_objects:
            raise SourceError(
                f"layer {layer_name!r} uses the custom object {custom!r}, which is not part of Keras. "
                "If you have its code, export with --custom-objects MODULE, the module that defines it"
            )


def _custom_name(node: dict[str, Any]) -> str | None:
    """Return the name of the custom object that a node is by its own word, if it is one."""
    class_name, module = str(node["class_name"]), node.get("module", "keras")
    registered_name = str(node.get("registered_name"))
    if ">" not in class_name + registered_name and str(module).split(".")[0] == "keras":
        return None
    return str(node.get("config")) if class_name == "function" else class_name.rpartition(">")[2]


def _unknown_name(node: dict[str, Any], known: Known) -> str | None:
    """Return the name of what a node of Keras 1 or 2 is or uses and Keras has not, if there is such a thing."""
    class_name, config = str(node["class_name"]), node.get("config")
    if not isinstance(config, dict):
        return None
    if isinstance(config.get("name"), str) and class_name not in known.layers:  # what has a name is a layer
        return class_name
    activations = (config.get(key) for key in ("activation", "recurrent_activation"))
    return next((name for name in activations if isinstance(name, str) and name not in known.activations), None)


def _check_operator(layer_name: str, node: dict[str, Any]) -> None:
    config = node.get("config")
    function = str(config.get("function", "")) if isinstance(config, dict) else ""
    if not (function.startswith(_ONLY_COMPUTE) or function in _ONLY_COMPUTE_NAMES):
        raise SourceError(f"layer {layer_name!r} calls TensorFlow's {function or 'raw ops'}, which is not allowed")
