"""``tf.Example``: from JSON features to serialized protocol buffers, by hand, so that serving needs no ``protobuf``.

Field numbers are those of ``tensorflow/core/example/feature.proto``; which JSON makes which feature is told in
TensorFlow Serving's ``json_tensor.cc``: strings and base64 objects are bytes, whole numbers and booleans int64, numbers
with a fraction or an exponent float.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.errors import BadRequestError

_KINDS = {str: "bytes", dict: "bytes", int: "int64", bool: "int64", float: "float"}
_FIELD = {"bytes": 1, "float": 2, "int64": 3}  # of Feature


def serialize(document: Mapping[str, Any]) -> np.ndarray:
    """Return the ``examples`` of a request as an object array of serialized ``tf.Example``, shape (n,).

    Raises BadRequestError naming the example and the feature.
    """
    if "examples" not in document:
        raise BadRequestError("Missing 'examples' key.")
    examples = document["examples"]
    if type(examples) is not list or not examples:
        raise BadRequestError("Expecting 'examples' to be a list of at least one example.")
    context = _features(document.get("context", {}), "context")
    array = np.empty(len(examples), object)
    for number, example in enumerate(examples):
        features = {**context, **_features(example, f"item {number} of 'examples'")}
        entries = (_message(1, name.encode()) + _message(2, feature) for name, feature in features.items())
        array[number] = _message(1, b"".join(_message(1, entry) for entry in entries))  # Example.features
    return array


def is_base64(value: Any) -> bool:
    """Tell whether a JSON value is ``{"b64": "..."}``, which stands for bytes wherever a string may."""
    return type(value) is dict and value.keys() == {"b64"} and type(value["b64"]) is str


def to_bytes(value: Any) -> bytes:
    """Return the bytes of a JSON string or a base64 object; raises ValueError for anything else."""
    if type(value) is str:
        return value.encode()
    if not is_base64(value):
        raise ValueError
    text = value["b64"].translate({ord("-"): "+", ord("_"): "/"})  # both alphabets, with padding or without
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError from error


def _features(example: Any, place: str) -> dict[str, bytes]:
    if type(example) is not dict:
        raise BadRequestError(f"Example must be a JSON object; {place} is none.")
    return {name: _feature(value, f"feature {name!r} of {place}") for name, value in example.items()}


def _feature(value: Any, place: str) -> bytes:
    values = value if type(value) is list else [value]
    kinds = {_KINDS.get(type(item)) for item in values}
    if None in kinds:
        raise BadRequestError(f"The {place} holds a list in a list, or null; expected strings or numbers.")
    if len(kinds) > 1:
        raise BadRequestError(f"The {place} mixes {' and '.join(sorted(map(str, kinds)))} values; expected one kind.")
    if not values:
        return b""
    [kind] = kinds
    return _message(_FIELD[str(kind)], _list(str(kind), values, place))


def _list(kind: str, values: list, place: str) -> bytes:
    if kind == "bytes":
        try:
            return b"".join(_message(1, to_bytes(value)) for value in values)
        except ValueError:
            raise BadRequestError(f'The {place} holds an object that is not {{"b64": ...}} of base64.') from None
    if kind == "float":
        for value in values:
            if math.isfinite(value) and abs(value) > float(np.finfo(np.float32).max):
                raise BadRequestError(f"The {place} holds {value}, which is beyond float.")
        return _message(1, struct.pack(f"<{len(values)}f", *values))  # packed
    for value in values:
        if not -(2**63) <= value < 2**63:
            raise BadRequestError(f"The {place} holds {value}, which is beyond int64.")
    return _message(1, b"".join(_varint(value & 2**64 - 1) for value in values))  # packed


def _message(field: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
