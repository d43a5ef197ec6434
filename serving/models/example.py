"""Inputs that a model takes: as ``example.json`` in its folder says, which its export writes, else a guess by shapes.

The file is the body of a ``:predict`` request by columns, ``{"inputs": {"X": [[1, 0]]}}``, and may be edited. An input
of many values is ``{"shape": [1, 224, 224, 3]}``: zeros. A string that is not text is ``{"b64": "..."}``.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from serving.engines.signature import DEFAULT_SIGNATURE, Example, Signature, TensorSpec, shape_fits, shape_text
from serving.models.export_record import EXAMPLE

_TYPES: dict[str, tuple[type, ...]] = {"b": (bool,), "i": (int,), "u": (int,)}  # of JSON, by NumPy's kind of type

_logger = logging.getLogger(__name__)

MOST_VALUES = 256  # in an example that is written out

_MOST_BYTES = 1024 * 1024  # of the file: a picture as base64
_MOST_ZEROS = 64 * 1024 * 1024  # values of an input that the file gives by its shape
_MOST_STRINGS = 1024 * 1024
_ROWS = 2  # of a guess, for a first dimension that may vary
_SIZE = 3  # for any other


def described(folder: Path, signatures: Mapping[str, Signature]) -> dict[str, Signature]:
    """Return a model's signatures with an example for each input; log a file that can't be used."""
    examples = None
    try:
        if DEFAULT_SIGNATURE in signatures:
            examples = read(folder, signatures[DEFAULT_SIGNATURE].inputs)
    except ValueError as error:
        _logger.warning("The example of a model is not used. %s", error)
    return {
        key: guessed(signature) if examples is None or key != DEFAULT_SIGNATURE else _with(signature, examples)
        for key, signature in signatures.items()
    }


def read(folder: Path, inputs: Mapping[str, TensorSpec]) -> dict[str, Example] | None:
    """Return the examples in a model's folder by input; None without a file. Raises ValueError with the path."""
    path = folder / EXAMPLE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        return None
    try:
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES} bytes")
        return _decoded(json.loads(content), inputs)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _decoded(content: Any, inputs: Mapping[str, TensorSpec]) -> dict[str, Example]:
    values = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(values, dict) or values.keys() != inputs.keys():
        raise ValueError(f'expected {{"inputs": {{...}}}} with {", ".join(inputs)}')
    return {name: _example(name, spec, values[name]) for name, spec in inputs.items()}


def _example(name: str, spec: TensorSpec, value: Any) -> Example:
    if isinstance(value, dict) and value.keys() == {"shape"}:
        shape, leaves = _shape(name, value["shape"]), None
        if spec.dtype_name == "string" and math.prod(shape) > _MOST_STRINGS:
            raise ValueError(f"{name} has more than {_MOST_STRINGS} strings")
    else:
        shape, leaves = (), [value]
        while leaves and isinstance(leaves[0], list):
            shape = (*shape, len(leaves[0]))
            if any(not isinstance(leaf, list) or len(leaf) != shape[-1] for leaf in leaves):
                raise ValueError(f"{name}: the lists of a level are not of one length")
            leaves = [item for leaf in leaves for item in leaf]
    if not shape_fits(shape, spec.shape):
        raise ValueError(f"{name} has the shape {list(shape)}; expected {shape_text(spec.shape)}")
    found = Example(shape, None if leaves is None else tuple(map(partial(_leaf, name, spec), leaves)), is_seen=True)
    array(found, spec)  # raises for a number beyond the type
    return found


def _shape(name: str, sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or any(type(size) is not int or size < 0 for size in sizes):
        raise ValueError(f"{name}: expected a shape such as [1, 224, 224, 3]")
    if math.prod(sizes) > _MOST_ZEROS:
        raise ValueError(f"{name} has more than {_MOST_ZEROS} values")
    return tuple(sizes)


def _leaf(name: str, spec: TensorSpec, value: Any) -> Any:
    if spec.dtype_name == "string":
        if isinstance(value, dict) and value.keys() == {"b64"}:
            try:
                return base64.b64decode(value["b64"], validate=True)
            except (binascii.Error, TypeError):
                raise ValueError(f"{name}: b64 is not base64") from None
        if isinstance(value, str):
            return value
    elif type(value) in _TYPES.get(spec.dtype.kind, (int, float)):
        return value
    raise ValueError(f"{name}: expected values of the type {spec.dtype_name}, got {json.dumps(value)[:40]}")


def array(example: Example, spec: TensorSpec) -> np.ndarray:
    """Return an example as an array; raises ValueError for a number that the type can't hold."""
    if spec.dtype_name == "string":
        values = (b"",) * math.prod(example.shape) if example.values is None else example.values
        strings = np.empty(len(values), object)
        strings[:] = [value.encode() if isinstance(value, str) else value for value in values]
        return strings.reshape(example.shape)
    if example.values is None:
        return np.zeros(example.shape, spec.dtype)
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(example.values, None if spec.dtype.kind == "V" else spec.dtype).astype(spec.dtype)
    except OverflowError as error:
        raise ValueError(f"{error}") from None
    if spec.dtype.kind in "fV" and not np.isfinite(numbers).all():
        raise ValueError(f"a value is not a finite {spec.dtype_name}")
    return numbers.reshape(example.shape)


def guessed(signature: Signature) -> Signature:
    """Return a signature with an example for each input that has none: by its shape, with values if these are few."""
    inputs = signature.inputs
    shapes = {name: shape_of(spec, _ROWS, _SIZE) for name, spec in inputs.items()}
    is_large = sum(max(1, math.prod(shape)) for shape in shapes.values()) > MOST_VALUES
    if is_large:
        shapes = {name: shape_of(spec, 1, _SIZE) for name, spec in inputs.items()}
    return _with(signature, {name: _guess(spec, shapes[name]) for name, spec in inputs.items() if spec.example is None})


def _guess(spec: TensorSpec, shape: tuple[int, ...]) -> Example:
    return Example(shape, _pattern(shape, spec) if math.prod(shape) <= MOST_VALUES else None)


def _with(signature: Signature, examples: Mapping[str, Example]) -> Signature:
    inputs = signature.inputs
    return replace(signature, inputs={n: replace(s, example=examples.get(n, s.example)) for n, s in inputs.items()})


def shape_of(spec: TensorSpec, rows: int, size: int) -> tuple[int, ...]:
    """Return a shape that a spec allows, with these rows and this size for each further dimension that may vary."""
    dimensions = (None,) if spec.shape is None else spec.shape
    return tuple((size if axis else rows) if length is None else length for axis, length in enumerate(dimensions))


def pattern(shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    """Return 1 and 0, or "a" and "b", in turn along every dimension: values that show their order."""
    return array(Example(shape, _pattern(shape, spec)), spec)


def _pattern(shape: tuple[int, ...], spec: TensorSpec) -> tuple[Any, ...]:
    one_and_zero = (1.0, 0.0) if spec.dtype.kind not in "iu" else (1, 0)
    leaves = {"string": ("a", "b"), "bool": (False, True)}.get(spec.dtype_name, one_and_zero)
    places = product(*map(range, shape)) if all(shape) else ()
    return tuple(leaves[sum(place) % 2] for place in places)


def write(folder: Path, feeds: Mapping[str, np.ndarray]) -> None:
    """Write inputs that a model was seen to take into its folder; those of many values by their shape."""
    content = {"inputs": {name: _encoded(array) for name, array in feeds.items()}}
    (folder / EXAMPLE).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _encoded(array: np.ndarray) -> Any:
    if array.size > MOST_VALUES:
        return {"shape": list(array.shape)}
    if array.dtype != object:
        return array.tolist() if array.dtype.kind != "V" else array.astype(np.float32).tolist()
    return np.vectorize(lambda value: json_string(bytes(value)), otypes=[object])(array).tolist()


def json_string(value: bytes | str) -> Any:
    """Return a string as TensorFlow Serving's JSON has it: text, or base64 where it is not text."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
