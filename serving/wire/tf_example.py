"""``tf.Example``: JSON features to serialized protocol buffers, written by hand so that serving needs no ``protobuf``.

Field numbers are those of ``tensorflow/core/example/feature.proto``. A feature's type is that of TensorFlow Serving's
``json_tensor.cc``: strings and base64 objects are bytes, whole numbers and booleans int64, numbers with a fraction or
an exponent float.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.errors import BadRequestError
from serving.wire import json_tensors

_KINDS = {str: "bytes", dict: "bytes", int: "int64", bool: "int64", float: "float"}
_FIELDS = {"bytes": 1, "float": 2, "int64": 3}  # of Feature

_TYPE_NAMES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def serialize(document: Mapping[str, Any]) -> np.ndarray:
    """Return the ``examples`` of a request as serialized ``tf.Example``: an object array of shape (examples,).

    Each example gets the features of ``context``, if any, and overrides them with its own. Raises BadRequestError with
    the feature and the example, which counts from 0 as in TensorFlow Serving.
    """
    context = _example(document["context"], "'context'") if "context" in document else b""
    if "examples" not in document:
        raise BadRequestError("Missing 'examples' key.")
    examples = document["examples"]
    if type(examples) is not list:
        raise BadRequestError(f"Expecting 'examples' value to be an list/array; got {json_tensors.quote(examples)}.")
    if not examples:
        raise BadRequestError("'examples' value is an empty array.")
    array = np.empty(len(examples), object)
    # Concatenated protocol buffers merge: the map of an Example gets the entries of both, of which the last counts.
    array[:] = [context + _example(example, f"item {item} of 'examples'") for item, example in enumerate(examples)]
    return array


def type_name(value: Any) -> str:
    """Return the name of a JSON value's type in TensorFlow Serving's errors."""
    return str(value) if type(value) is bool else _TYPE_NAMES[type(value)]


def is_base64(value: Any) -> bool:
    """Return whether a JSON value is ``{"b64": "..."}``, which encodes bytes wherever a string is allowed."""
    return type(value) is dict and value.keys() == {"b64"} and type(value["b64"]) is str


def to_bytes(value: Any) -> bytes:
    """Return the bytes of a JSON string or a base64 object; raises ValueError with the reason if it is neither."""
    if type(value) is str:
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"JSON Value: {json_tensors.quote(value)} is not valid Unicode") from None
    if not is_base64(value):
        raise ValueError(f"JSON Value: {json_tensors.quote(value)} not formatted correctly for base64 data")
    # Like absl::Base64Unescape: white space anywhere, padding complete or absent.
    text = "".join(value["b64"].split())
    digits = text.rstrip("=")
    padding = "=" * (-len(digits) % 4)
    try:
        if len(text) not in (len(digits), len(digits + padding)):
            raise ValueError
        return binascii.a2b_base64(digits + padding, strict_mode=True)
    except ValueError:  # binascii.Error is one too
        raise ValueError(f"Unable to base64 decode {json_tensors.quote(value)}") from None


def _example(features: Any, place: str) -> bytes:
    if type(features) is not dict:
        raise BadRequestError(f"Example must be JSON object but got JSON {type_name(features)}, in {place}.")
    try:
        return _message(1, b"".join(map(_entry, features.keys(), features.values())))  # Example.features
    except ValueError as error:
        raise BadRequestError(f"{error}, in {place}.") from None


def _entry(name: str, value: Any) -> bytes:
    """Return one entry of ``map<string, Feature> feature``; raises ValueError with the feature's name and problem."""
    try:
        feature = _feature(value if type(value) is list else [value])
        return _message(1, _message(1, to_bytes(name)) + _message(2, feature))
    except ValueError as error:
        raise ValueError(f"Feature: {json_tensors.quote(name)} {error}") from None


def _feature(values: list[Any]) -> bytes:
    kinds = {_KINDS.get(type(value)) for value in values}
    if not values:
        return b""
    if len(kinds) > 1 or None in kinds:
        raise _wrong_element(values)
    kind = str(kinds.pop())
    return _message(_FIELDS[kind], _LISTS[kind](values))


def _wrong_element(values: list[Any]) -> ValueError:
    """Return the error for the first value that has no kind, or another kind than the first value."""
    kind = _KINDS.get(type(values[0]))
    value = next(value for value in values if (_KINDS.get(type(value)) or "none") != kind)
    if type(value) not in _KINDS:
        return ValueError(f"has element with unexpected JSON type: {type_name(value)}")
    return ValueError(f"has unexpected element {json_tensors.quote(value)}, expecting type: {kind}")


def _bytes_list(values: list[Any]) -> bytes:
    return b"".join(_message(1, to_bytes(value)) for value in values)


def _float_list(values: list[Any]) -> bytes:
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite
        return _message(1, np.array(values, np.float64).astype("<f4").tobytes())  # packed


def _int64_list(values: list[Any]) -> bytes:
    if not all(-(2**63) <= value < 2**63 for value in values):
        raise ValueError("has uint64_t element. Only int64_t is supported")
    return _message(1, b"".join(_varint(value & 2**64 - 1) for value in values))  # packed


_LISTS = {"bytes": _bytes_list, "float": _float_list, "int64": _int64_list}


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
