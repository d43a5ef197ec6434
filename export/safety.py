"""What a model's description may name. Loading a model must not run code that came with it.

The description is JSON that Keras would turn into objects. Every object in it is checked against lists of what only
computes, before any Keras reads it, and only its checked parts are handed on: the class by its public name, its
configuration, nothing of where the file says that the class lies.
"""

from __future__ import annotations

import base64
import binascii
import dis
import importlib
import marshal
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any

from export import operators
from serving.models.export_record import SourceError

# Layers whose configuration holds or names code: marshalled Python, pickled modules, other SavedModels.
_HOLD_CODE = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "NnxLayer"}

# What a Lambda layer's configuration says of its functions: function_type, output_shape_module and others.
_FUNCTIONS_OF_LAMBDA = ("function", "module", "output_shape", "mask")
_OWN_FUNCTION = (
    "define a function named {layer!r} in a module of yours, and export with --custom-objects and the module"
)

# Where Keras 3 keeps operations on tensors: x * 2, keras.ops.relu(x).
_OPERATIONS = ("core", "einops", "image", "linalg", "math", "nn", "numpy")
_APPLICATIONS = ("convnext", "inception_resnet_v2")  # of keras.applications, those with layers of their own

# What the layer DenseFeatures is made of; without the column whose vocabulary is a file.
_COLUMNS = (
    *("BucketizedColumn", "CrossedColumn", "EmbeddingColumn", "HashedCategoricalColumn", "IdentityCategoricalColumn"),
    *("IndicatorColumn", "NumericColumn", "VocabularyListCategoricalColumn"),
)

# Of use in training alone. What stands in their place suits every layer.
_ONLY_FOR_TRAINING = {"_regularizer": None, "_constraint": None, "_initializer": "zeros"}

# The parts of an object that a prediction needs: not compile_config.
_PARTS = {
    "class_name",
    "config",
    "build_config",
    "shared_object_id",
    "name",
    "inbound_nodes",
    "keras_version",
    "backend",
}

# Where a configuration keeps the name of a function.
_ACTIVATIONS = ("activation", "recurrent_activation", "inner_activation")

# Values that Keras writes as objects (keras/src/saving/serialization_lib.py), and what stands in them.
_VALUES = {
    **dict.fromkeys(
        ("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__keras_tensor__"), "config"
    ),
    **dict.fromkeys(("__tuple__", "TensorShape"), "items"),
}

# Layers whose vocabulary, or weights of it, may be a path, which they would read.
_VOCABULARIES = ("vocabulary", "idf_weights")

_DEEPEST = 400


@dataclass(frozen=True)
class Trust:
    """What the owner of a model lets it run: its Lambda layers' code, and classes and functions of their own."""

    lambda_layers: bool = False
    custom_objects: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Vocabulary:
    """What a Keras has that only computes: the module of each class by its name, activations, other classes by module.

    ``operations`` has those of descriptions that name no modules under "".
    """

    classes: Mapping[str, str]
    activations: Set[str]
    operations: Mapping[str, Set[str]]

    @classmethod
    def of(cls, keras: ModuleType, layers: Iterable[str] = ()) -> Vocabulary:
        """Return that of ``keras`` or ``tf_keras``, with further layers by their names."""
        classes: dict[str, str] = {}
        for namespace in ("random", "dtype_policies", "mixed_precision", "constraints", "regularizers", "initializers"):
            module = getattr(keras, namespace, None)
            classes |= dict.fromkeys(_public(module, type), f"keras.{namespace}") if module else {}
        # HDF5 of Keras 3 has a class's own name, which is the public one but for GroupQueryAttention.
        own_names = {getattr(keras.layers, name).__name__ for name in _public(keras.layers, type)}
        classes |= dict.fromkeys(_public(keras.layers, type) | own_names | set(layers), "keras.layers")
        classes |= {"Sequential": "keras", "Model": "keras", "SyncBatchNormalization": "keras.layers.experimental"}
        classes |= dict.fromkeys(_COLUMNS, "tensorflow")
        classes["Functional"] = _functional(keras).__module__
        functions = _public(keras.activations, Callable) - {"get", "serialize", "deserialize"}
        own, operations = layers_of_applications(keras), _operations(keras)
        registered = {keras.saving.get_registered_name(layer) for layer in own.values()} - set(own)
        operations[""] = registered.union(*operations.values())
        for name, layer in own.items():
            operations[layer.__module__] = {name, *operations.get(layer.__module__, ())}
        return cls(classes, functions | {"relu6", "leaky_relu"}, operations)


def _public(module: ModuleType, kind: Any) -> Set[str]:
    return {name for name in dir(module) if not name.startswith("_") and isinstance(getattr(module, name), kind)}


def _operations(keras: ModuleType) -> dict[str, Set[str]]:
    if not hasattr(keras, "Operation"):  # Keras 2
        return {}
    found: dict[str, Set[str]] = {}
    for name in _OPERATIONS:
        module = importlib.import_module(f"keras.src.ops.{name}")
        classes = _public(module, type)
        found[module.__name__] = {key for key in classes if issubclass(getattr(module, key), keras.Operation)}
    return found


def layers_of_applications(keras: ModuleType) -> dict[str, type]:
    """Return by name the layers that only architectures of ``keras.applications`` have."""
    found: dict[str, type] = {}
    for name in _APPLICATIONS:
        module = importlib.import_module(f"{keras.__name__}.src.applications.{name}")
        values = {key: value for key, value in vars(module).items() if isinstance(value, type)}
        found |= {key: value for key, value in values.items() if value.__module__ == module.__name__}
    return found


def without_module(keras: ModuleType) -> dict[str, Any]:
    """Return by name what Keras has, but does not find in a description that names no modules."""
    modules = {name: importlib.import_module(name) for name in _operations(keras)}
    found = {key: getattr(modules[name], key) for name, keys in _operations(keras).items() for key in keys}
    found = {key: value for key, value in found.items() if not hasattr(keras.layers, key)}  # Add, which is a layer
    return found | layers_of_applications(keras)


def _functional(keras: ModuleType) -> type:
    inputs = keras.layers.Input((1,))
    return type(keras.Model(inputs, inputs))


def checked(description: dict[str, Any], trust: Trust, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return a description of what it holds and nothing else, for a Keras to read.

    Raises SourceError naming the layer that would run code, read a file, or is unknown, and what to do about it.
    """
    result: dict[str, Any] = _Check(trust, vocabulary).value(description, "model", 0)
    return result


class _Check:
    def __init__(self, trust: Trust, vocabulary: Vocabulary) -> None:
        self._trust = trust
        self._vocabulary = vocabulary

    def value(self, value: Any, layer: str, depth: int) -> Any:
        """Return a JSON value with every object in it checked; ``layer`` is the one that it belongs to."""
        if depth > _DEEPEST:
            raise SourceError(f"the description of layer {layer!r} is nested too deeply")
        if isinstance(value, list):
            return [self.value(item, layer, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        if "class_name" in value:
            return self._object(value, layer, depth)
        return {key: self.value(item, layer, depth + 1) for key, item in value.items()}

    def _object(self, node: dict[str, Any], layer: str, depth: int) -> Any:
        class_name, config = node["class_name"], node.get("config")
        if not isinstance(class_name, str):
            raise SourceError(f"layer {layer!r} has an object whose class_name is not a string")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            layer = config["name"]
            if ".." in layer.split("/") or layer.startswith("/"):
                raise SourceError(f"the layer name {layer!r} must not begin with '/' or contain '..'")
        if class_name in _VALUES:
            part = _VALUES[class_name]
            return {"class_name": class_name, part: self.value(node.get(part), layer, depth + 1)}
        if class_name == "Lambda" and isinstance(config, dict):
            return self._lambda(node, config, layer, depth)
        if class_name in _HOLD_CODE or class_name == "__lambda__":
            return self._code(node, class_name, layer)
        if class_name in operators.LAYERS:
            operators.check(class_name, config, layer)
            module = "keras.layers"
            return self._rebuilt(node, class_name, module, layer, depth)
        custom = _custom_name(node)
        if custom is None and class_name == "function":
            return self._function(str(config), layer)
        named = str(node.get("module", ""))
        for module in (named, f"tf_{named}"):  # keras.src is also TensorFlow 2.13's
            if class_name in self._vocabulary.operations.get(module, ()):
                return self._rebuilt(node, class_name, module, layer, depth)
        if custom is None and class_name in self._vocabulary.classes:
            return self._rebuilt(node, class_name, self._vocabulary.classes[class_name], layer, depth)
        return self._custom(node, custom or class_name, layer, depth)

    def _lambda(self, node: dict[str, Any], config: dict[str, Any], layer: str, depth: int) -> Any:
        """Return a Lambda layer that calls the owner's function of its name, or its code where that is allowed."""
        named = _function_name(config)
        own = next((name for name in (layer, named) if name and name in self._trust.custom_objects), None)
        if own and not config.get("mask"):
            kept = {key: value for key, value in config.items() if not key.startswith(_FUNCTIONS_OF_LAMBDA)}
            result = self._rebuilt({**node, "config": kept}, "Lambda", "keras.layers", layer, depth)
            result["config"] |= _function_of_lambda(own, is_keras3="function_type" not in config)
            return result
        if named:
            raise self._unknown(named, layer)
        code = self._code(node, "Lambda", layer)
        _check_code(config.get("function"), layer)
        return code

    def _code(self, node: dict[str, Any], class_name: str, layer: str) -> Any:
        if not self._trust.lambda_layers:
            instead = f", or {_OWN_FUNCTION.format(layer=layer)}" if class_name == "Lambda" else ""
            raise SourceError(
                f"layer {layer!r} is a {class_name.strip('_')}, which runs code from the model file. "
                f"If you trust it, export with --allow-lambda{instead}"
            )
        return node

    def _function(self, name: str, layer: str) -> dict[str, Any]:
        known = self._known_function(name, layer)
        return {"class_name": "function", "config": known, "module": "builtins", "registered_name": "function"}

    def _known_function(self, name: str, layer: str) -> str:
        bare_name = name.rpartition(">")[2]  # behind the package that it is registered in
        if bare_name in self._trust.custom_objects:
            return bare_name
        if name not in self._vocabulary.activations:
            raise self._unknown(name, layer)
        return name

    def _custom(self, node: dict[str, Any], name: str, layer: str, depth: int) -> dict[str, Any]:
        bare_name = name.rpartition(">")[2]
        if bare_name not in self._trust.custom_objects:
            raise self._unknown(name, layer)
        kept = {key: self.value(value, layer, depth + 1) for key, value in node.items() if key in _PARTS}
        # Without its module Keras looks for it among the custom objects and nowhere else.
        return {**kept, "module": None, "registered_name": name} if "module" in node else kept

    def _rebuilt(self, node: dict[str, Any], class_name: str, module: str, layer: str, depth: int) -> dict[str, Any]:
        parts = {key: value for key, value in node.items() if key in _PARTS and key != "config"}
        result = {key: self.value(value, layer, depth + 1) for key, value in parts.items()}
        config = node.get("config")
        if isinstance(config, dict):
            config = {key: self._member(key, value, class_name, layer, depth) for key, value in config.items()}
        else:
            config = self.value(config, layer, depth + 1)
        result |= {"config": config}
        # A description of an older Keras names no modules, and is read by its rules.
        return {**result, "module": module, "registered_name": None} if "module" in node else result

    def _member(self, key: str, value: Any, class_name: str, layer: str, depth: int) -> Any:
        for ending, neutral in _ONLY_FOR_TRAINING.items():
            if key.endswith(ending) and isinstance(value, str | dict):
                return neutral
        if key in _VOCABULARIES and not isinstance(value, list | None):
            raise SourceError(
                f"layer {layer!r} reads its {key} from a file, which is not allowed; "
                f"save the model with the {key} as a list"
            )
        if key in _ACTIVATIONS and isinstance(value, str):
            return self._known_function(value, layer)
        return self.value(value, layer, depth + 1)

    def _unknown(self, name: str, layer: str) -> SourceError:
        return SourceError(
            f"layer {layer!r} uses the custom object {name.rpartition('>')[2]!r}, which is not part of Keras. "
            "If you have its code, export with --custom-objects and the module or file that defines it"
        )


def _function_name(config: dict[str, Any]) -> str | None:
    """Return the name of a Lambda layer's function where the file has its name and not its code."""
    function = config.get("function")
    if isinstance(function, dict) and function.get("class_name") == "function":
        return str(function.get("config")).rpartition(">")[2]
    return str(function) if config.get("function_type") == "function" else None


def _function_of_lambda(name: str, is_keras3: bool) -> dict[str, Any]:
    """Return the configuration of a Lambda layer that calls a function among the custom objects."""
    function = {"class_name": "function", "config": name, "module": None, "registered_name": name}
    old = {"function_type": "function", "output_shape": None, "output_shape_type": "raw"}
    return {"function": function} | ({} if is_keras3 else old)


def _check_code(function: Any, layer: str) -> None:
    """Raise SourceError for marshalled code that this Python can't run: its format changes with each version."""
    if isinstance(function, dict):  # by Keras 3, or a tuple in a .keras file of Keras 2
        config = function.get("config")
        function = [config.get("code")] if isinstance(config, dict) else function.get("items")
    text = function[0] if isinstance(function, list) and function else function
    try:
        code = marshal.loads(_bytes_of(str(text)))
    except Exception:  # of which kind depends on where the two versions differ
        code = None
    # Each function begins with RESUME since Python 3.11, and its number changes.
    if not isinstance(code, CodeType) or dis.opmap["RESUME"] not in code.co_code[::2]:
        own_function = _OWN_FUNCTION.format(layer=layer)
        raise SourceError(
            f"layer {layer!r} is a Lambda whose code was written by another version of Python and can't run in this "
            f"one. {own_function[0].upper()}{own_function[1:]}"
        )


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):  # of Keras up to 2.0
        return text.encode("raw_unicode_escape")


def _custom_name(node: dict[str, Any]) -> str | None:
    """Return the registered name of a custom object, or its own where it has none; None for one of Keras's own."""
    class_name, config = str(node["class_name"]), node.get("config")
    registered_name = node.get("registered_name")
    if ">" in str(registered_name):
        return str(registered_name)
    if ">" in class_name:
        return class_name
    module = node.get("module")
    if module is None or module == "builtins" or str(module).split(".")[0] in ("keras", "tf_keras"):
        return None
    return str(config) if class_name == "function" else class_name
