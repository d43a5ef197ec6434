"""JSON Schemas (2020-12, as in OpenAPI 3.1) of tensors and messages, from signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from serving.engines.signature import Signature, TensorSpec
from serving.wire.open_inference_tensors import DATATYPES

Schema = dict[str, Any]

_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}

# Of lists in lists that are written out. A shape in a file may have any number of dimensions.
MOST_LEVELS = 16


class Components:
    """The named schemas of a document, each in it once: API Management takes no others, and generators name types so.

    A name says all that its schema depends on, so that models share what they have in common.
    """

    def __init__(self, **schemas: Schema) -> None:
        self.schemas = dict(schemas)

    def add(self, name: str, schema: Schema) -> Schema:
        """Add a schema under a name, and return the reference to it."""
        self.schemas[name] = schema
        return reference("schemas", name)

    def tensor(self, spec: TensorSpec) -> Schema:
        """Return the reference to the schema of a tensor as nested lists."""
        sizes = "x".join("N" if size is None else str(size) for size in spec.shape or ())
        if spec.shape is not None and len(spec.shape) > MOST_LEVELS:
            sizes = f"rank{len(spec.shape)}"
        rank = "any" if spec.shape is None else sizes or "scalar"
        return self.add(f"tensor.{spec.dtype_name}.{rank}", tensor(spec))

    def row(self, spec: TensorSpec) -> Schema:
        """Return the reference to the schema of one element of a tensor's first dimension."""
        return self.tensor(replace(spec, shape=spec.shape[1:] if spec.shape else None))


def reference(kind: str, name: str) -> Schema:
    """Return the reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def value(dtype_name: str) -> Schema:
    """Return the schema of one value of a tensor."""
    if dtype_name == "bool":
        return {"type": "boolean"}
    if dtype_name == "string":
        return {"type": "string"}
    if dtype_name not in _INTEGERS:
        return {"type": "number"}
    bits = int(dtype_name.lstrip("uint"))
    if dtype_name.startswith("u"):
        return {"type": "integer", "minimum": 0, "maximum": 2**bits - 1}
    return {"type": "integer", "minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}


def tensor(spec: TensorSpec) -> Schema:
    """Return the schema of a tensor as nested lists."""
    if spec.shape is None:
        return {"description": f"nested lists of {spec.dtype_name} values, of any rank"}
    if len(spec.shape) > MOST_LEVELS:
        return {"type": "array", "description": f"{len(spec.shape)} levels of lists of {spec.dtype_name} values"}
    schema = value(spec.dtype_name)
    for size in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def one_or_by_name(specs: Mapping[str, TensorSpec], schema_of: Callable[[TensorSpec], Schema]) -> Schema:
    """Return the schema of a single tensor, or of an object with several tensors by name."""
    if len(specs) == 1:
        [spec] = specs.values()
        return schema_of(spec)
    return object_of({name: schema_of(spec) for name, spec in specs.items()})


def object_of(properties: Mapping[str, Schema], **further: Any) -> Schema:
    """Return the schema of an object that has all of these members."""
    return {"type": "object", "required": list(properties), "properties": dict(properties), **further}


def inference_tensors(specs: Mapping[str, TensorSpec]) -> Schema:
    """Return the schema of the Open Inference Protocol's list of tensors."""
    members = [
        object_of(
            {
                "name": {"const": name},
                "datatype": {"const": DATATYPES.get(spec.dtype_name)},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "data": {"type": "array", "items": {}},
            }
        )
        for name, spec in specs.items()
    ]
    return {"type": "array", "items": {"anyOf": members}}


def rows_are_possible(signature: Signature) -> bool:
    """Return whether the first dimension of every input and output may vary, as TensorFlow Serving's rows require."""
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    return all(spec.shape is None or (spec.shape and spec.shape[0] is None) for spec in specs)
