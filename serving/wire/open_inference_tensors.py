"""Tensors of the Open Inference Protocol, as JSON values or raw bytes, to arrays and back.

Raw bytes are those of Triton's ``extension_binary_data.md``: row-major and little-endian, as is every machine that
TensorFlow's wheels are built for. Each element of BYTES follows its length, a 4-byte unsigned integer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving.engines.signature import TensorSpec
from serving.errors import BadRequestError, PredictionError
from serving.wire import json_tensors

# TensorFlow's name of a type -> the protocol's.
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}

_LENGTH_BYTES = 4  # of the length before each element of BYTES

_ASK_FOR_BINARY = 'Ask for it as binary data: {"parameters": {"binary_data": true}}.'


def datatype(name: str, spec: TensorSpec) -> str:
    """Return the protocol's name of a tensor's type, e.g. ``"FP32"``; raises BadRequestError if there is none."""
    if spec.dtype_name not in DATATYPES:
        raise BadRequestError(f"{name}: the Open Inference Protocol has no datatype for {spec.dtype_name}.")
    return DATATYPES[spec.dtype_name]


def from_json(data: list, shape: tuple[int, ...], name: str, spec: TensorSpec) -> np.ndarray:
    """Return an array of the spec's dtype from JSON values in row-major order, flat or nested like the shape.

    Raises BadRequestError with the input's name, the place in the shape, what was expected and what was received.
    """
    leaves = _leaves(data, shape, name, spec)
    json_tensors.check_types(leaves, shape, name, spec)
    if spec.dtype_name == "string":
        return json_tensors.to_strings(leaves, shape, name)
    return json_tensors.to_numbers(leaves, shape, name, spec)


def to_json(array: np.ndarray, name: str) -> bytes:
    """Return an array as a flat JSON list in row-major order, with floats as short as in ``json_tensors.to_json``.

    Raises BadRequestError for what only binary data can represent, since the client can ask for that: NaN, infinities,
    and bytes that are not UTF-8.
    """
    try:
        if array.dtype == object:
            return json_tensors.joined(array.ravel(), _texts)
        return json_tensors.to_json(array.ravel(), name)
    except UnicodeDecodeError:
        raise BadRequestError(f"Output {name!r} contains bytes that are not UTF-8. {_ASK_FOR_BINARY}") from None
    except PredictionError as error:
        raise BadRequestError(f"{error} {_ASK_FOR_BINARY}") from None


def _texts(array: np.ndarray) -> bytes:
    return json.dumps([value.decode() for value in array.tolist()]).encode()


def from_binary(data: memoryview, shape: tuple[int, ...], name: str, spec: TensorSpec) -> np.ndarray:
    """Return raw bytes as an array of the spec's dtype: a read-only view, except for BYTES.

    Raises BadRequestError for too few or too many bytes, and for a BOOL that is neither 0 nor 1.
    """
    if spec.dtype_name == "string":
        return _objects(_elements(data, shape, name), shape)
    expected = math.prod(shape) * spec.dtype.itemsize
    if len(data) != expected:
        tensor = f"{datatype(name, spec)} of shape {list(shape)}"
        raise BadRequestError(f"{name}: expected {expected} bytes for {tensor}, got {len(data)}.")
    if spec.dtype.kind == "b":
        values = np.frombuffer(data, np.uint8)
        if (values > 1).any():  # TensorFlow's C++ kernels rely on 0 or 1
            index = int(np.argmax(values > 1))
            raise json_tensors.wrong_value("a byte 0 or 1", int(values[index]), name, index, shape)
    return np.ndarray(shape, spec.dtype, buffer=data)


def to_binary(array: np.ndarray) -> bytes | memoryview:
    """Return an array's raw bytes: a view if the array is contiguous and has no strings."""
    if array.dtype == object:
        values: list[bytes] = array.ravel().tolist()
        return b"".join(part for value in values for part in (len(value).to_bytes(_LENGTH_BYTES, "little"), value))
    # As uint8, since bfloat16 does not support the buffer protocol.
    return array.ravel().view(np.uint8).data


def from_raw(body: memoryview, name: str, spec: TensorSpec) -> np.ndarray:
    """Return a body that is only raw bytes as an array; its shape follows from the spec and the number of bytes.

    One dimension may vary, and a second if the first is the batch's, which is then 1. For BYTES the body is a single
    element. Raises BadRequestError if the shape doesn't follow.
    """
    shape = spec.shape
    if shape is not None and shape.count(None) > 1 and shape[0] is None:
        shape = (1, *shape[1:])
    if shape is None or shape.count(None) > 1:
        raise BadRequestError(f"{name}: raw bytes alone don't determine the shape; send it as JSON.")
    if spec.dtype_name == "string":
        sizes = tuple(1 if size is None else size for size in shape)
        if math.prod(sizes) != 1:
            raise BadRequestError(f"{name}: a body without JSON is 1 element; expected {math.prod(sizes)}.")
        return _objects([bytes(body)], sizes)
    row = math.prod(size for size in shape if size is not None) * spec.dtype.itemsize
    rows = len(body) // row if row else 0
    return from_binary(body, tuple(rows if size is None else size for size in shape), name, spec)


def _leaves(data: list, shape: tuple[int, ...], name: str, spec: TensorSpec) -> Sequence[Any]:
    if data and type(data[0]) is list:
        leaves, _ = json_tensors.flatten(data, name, replace(spec, shape=shape, any_shape=False))
        return leaves
    expected = math.prod(shape)
    if len(data) != expected:
        wanted = f"{expected} values for shape {list(shape)}"
        raise BadRequestError(f"{name}: expected {wanted}, got {len(data)}.")
    return data


def _elements(data: memoryview, shape: tuple[int, ...], name: str) -> list[bytes]:
    values: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(data[position:start], "little")
        if position > len(data):
            where = f"element {len(values) + 1} runs past the end of the tensor's {len(data)} bytes"
            raise BadRequestError(f"{name}: {where}.")
        values.append(bytes(data[start:position]))
    if len(values) != math.prod(shape):
        wanted = f"{math.prod(shape)} elements for shape {list(shape)}"
        raise BadRequestError(f"{name}: expected {wanted}, got {len(values)}.")
    return values


def _objects(values: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)
