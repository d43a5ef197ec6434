"""Models whose layers are connected in ways that today's Keras can't read, rewritten as functional ones that it can.

Those of Keras 1 that begin with a Merge, and Graph; calls of Keras 3.0. What the description says in a functional
model is who feeds whom; the layers themselves stay those of their time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export import keras0
from serving.models.export_record import SourceError

_MERGING = ("concat_axis", "dot_axes")


def functional(model: dict[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
    """Return a model as a functional one where it must be, and then its layers in the order of their weights.

    That order is empty where the weights' names say it, and None where the model was left as it is.
    """
    is_keras0 = model.get("keras_version") == keras0.VERSION
    if model["class_name"] == "Graph":
        return _graph(model, is_keras0)
    if model["class_name"] != "Sequential" or not (is_keras0 or _begins_with_merge(model)):
        return model, None
    builder = _Builder(is_keras0)
    output = builder.chain(layers_of(model), None)
    return builder.model(model, [output]), builder.order


def layers_of(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers in a model's JSON; none where it is a plain layer. A Sequential of 2017 is the list itself."""
    config = model["config"]
    layers = config if isinstance(config, list) else config.get("layers", [])
    return [layer for layer in layers if isinstance(layer, dict) and "config" in layer]


def number_nodes(model: dict[str, Any], version: tuple[int, ...]) -> None:
    """Give what refers to a call of a layer in Keras 3 that call's number in the model: 0, 1, ...

    Keras up to 3.2 wrote its number among all calls of the layer, those in other models too. Raises SourceError where
    those numbers do not say which call is which.
    """
    layers = layers_of(model)
    histories: dict[str, list[list[Any]]] = {}
    for layer in layers:
        number_nodes(layer, version)
        for history in _histories(layer.get("inbound_nodes")):
            histories.setdefault(history[0], []).append(history)
    for layer in layers:
        found = histories.get(layer.get("name", ""), [])
        numbers = sorted({history[1] for history in found})
        if len(numbers) == max(1, len(layer.get("inbound_nodes", ()))):
            for history in found:
                history[1] = numbers.index(history[1])
        elif numbers and (3,) <= version < (3, 3):
            raise SourceError(
                f"layer {layer['name']!r} is shared, and Keras {version[0]}.{version[1]} did not write which of its "
                "calls is which. Save the model again with a later Keras 3"
            )


def _histories(value: Any) -> Iterator[list[Any]]:
    """Yield layer, node and tensor of each tensor that the arguments of calls name."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _histories(item)


def _begins_with_merge(model: dict[str, Any]) -> bool:
    return [layer["class_name"] for layer in layers_of(model)[:1]] == ["Merge"]


def _graph(model: dict[str, Any], is_keras0: bool) -> tuple[dict[str, Any], list[str] | None]:
    config, builder = model["config"], _Builder(is_keras0)
    tensors = {}
    for entry in config["input_config"]:
        shape = entry.get("batch_input_shape") or [None, *entry["input_shape"]]
        tensors[entry["name"]] = builder.input(entry["name"], shape)
    for node in config["node_config"]:
        name = node["name"]
        if node.get("outputs") or name not in config["nodes"]:
            raise SourceError(
                f"node {name!r} of the Graph is shared. Rebuild the model with the functional API and save it again"
            )
        source = _source(builder, node, tensors, f"merge_inputs_for_{name}")
        tensors[name] = builder.chain([config["nodes"][name]], source)
    ends = [_source(builder, end, tensors, end["name"]) for end in config["output_config"]]
    return builder.model(model, ends), builder.order if is_keras0 else []


def _source(builder: _Builder, node: dict[str, Any], tensors: dict[str, str], name: str) -> str:
    """Return the layer that feeds a node of a Graph: the one that it names, or a Merge of those that it names."""
    if not node.get("inputs"):
        return tensors[node["input"]]
    config = {"name": name, "mode": node["merge_mode"], **{key: node[key] for key in _MERGING if key in node}}
    return builder.add({"class_name": "Merge", "config": config}, [tensors[other] for other in node["inputs"]])


class _Builder:
    """The layers of a functional model, each with those that feed it."""

    def __init__(self, is_keras0: bool) -> None:
        self._is_keras0 = is_keras0
        self._layers: list[dict[str, Any]] = []
        self._inputs: list[str] = []
        self._calls: dict[str, int] = {}  # of models within: they were called once when they were built
        self.order: list[str] = []

    def input(self, name: str, shape: list[int | None]) -> str:
        self._inputs.append(name)
        return self._add("InputLayer", {"name": name, "batch_input_shape": shape}, name, [])

    def add(self, layer: dict[str, Any], sources: list[str]) -> str:
        config = layer["config"]
        if isinstance(config, list):  # a Sequential within, which had no name
            config = {"name": f"sequential_in_{len(self._layers)}", "layers": config}
        if layers_of(layer) and "batch_input_shape" in _first(layer)["config"]:
            self._calls[config["name"]] = 1
        if layer["class_name"] != "Merge":
            self.order.append(config["name"])
        return self._add(layer["class_name"], config, config["name"], sources)

    def _add(self, class_name: str, config: dict[str, Any], name: str, sources: list[str]) -> str:
        nodes = [self._references(sources)] if sources else []
        self._layers.append({"class_name": class_name, "name": name, "config": config, "inbound_nodes": nodes})
        return name

    def _references(self, names: list[str]) -> list[list[Any]]:
        return [[name, self._calls.get(name, 0), 0] for name in names]

    def chain(self, layers: list[dict[str, Any]], source: str | None) -> str:
        """Add layers one after the other; without a source the first of them begins with an input."""
        for layer in layers:
            if layer["class_name"] == "Merge" and source is None:
                source = self._merge(layer)
            elif layer["class_name"] == "Sequential" and self._is_keras0:  # which kept its layers' weights one by one
                source = self.chain(layers_of(layer), source)
            else:
                source = self.add(layer, [source or self.input(f"input_{len(self._inputs) + 1}", _shape(layer))])
        if source is None:
            raise SourceError("it has a Sequential without layers")
        return source

    def _merge(self, merge: dict[str, Any]) -> str:
        branches = merge["config"].get("layers") or []
        if any(branch["class_name"] in ("Model", "Graph") for branch in branches):
            raise SourceError(
                f"layer {merge['config'].get('name')!r} merges a functional model or a Graph, which export can't read. "
                "Rebuild that part with the functional API, and save the model again"
            )
        ends = [
            self.chain(layers_of(branch) if branch["class_name"] == "Sequential" else [branch], None)
            for branch in branches
        ]
        config = {key: value for key, value in merge["config"].items() if key != "layers"}
        return self.add({"class_name": "Merge", "config": {"name": "merge", **config}}, ends)

    def model(self, model: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
        """Return the description of the functional model, with what the former one said of its Keras."""
        config = {
            "name": "model",
            "layers": self._layers,
            "input_layers": self._references(self._inputs),
            "output_layers": self._references(outputs),
        }
        return {**model, "class_name": "Model", "config": config}


def _first(layer: dict[str, Any]) -> dict[str, Any]:
    """Return the first plain layer within a layer or model."""
    inner = layers_of(layer)
    return _first(inner[0]) if inner else layer


def _shape(layer: dict[str, Any]) -> list[int | None]:
    """Return the shape of the input that a first layer states."""
    config = _first(layer)["config"]
    if not isinstance(config.get("batch_input_shape"), list):
        raise SourceError(f"layer {config.get('name')!r} is a first layer but does not state its input shape")
    shape: list[int | None] = config["batch_input_shape"]
    return shape
