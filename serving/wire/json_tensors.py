"""JSON values to tensors and back. Knows a TensorSpec; knows no request, no session and no HTTP.

Places in error messages count from 1, as people count rows and columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from serving.engines.signature import TensorSpec
from serving.errors import BadRequestError, PredictionError

_LONGEST_QUOTE = 40  # characters of a client's value that an error message repeats
_PIECE_VALUES = 16 * 1024  # of a large array, written at a time


def parse(body: bytes) -> Any:
    """Return the JSON value in a request body; raises BadRequestError saying where it stops being JSON.

    NaN and Infinity, which are no JSON, pass here, so that the check of the tensor can name their row and column.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Any:
    """Parse what orjson doesn't take: some of it is right all the same, and json says better what is wrong."""
    try:
        return json.loads(body)
    except RecursionError:
        raise BadRequestError("The body is not JSON that this server takes: it is nested too deeply.") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise BadRequestError(f"The body is not JSON: {str(error).partition(';')[0]}.") from None


def to_tensor(value: Any, name: str, spec: TensorSpec) -> np.ndarray:
    """Return nested lists of JSON values as an array of the spec's dtype, in a shape that the spec allows.

    Raises BadRequestError naming the input, the place, what was expected and what was got.
    """
    leaves, shape = flatten(value, name, spec)
    types, noun = leaf_types(spec)
    if not set(map(type, leaves)) <= types:
        index = next(i for i, leaf in enumerate(leaves) if type(leaf) not in types)
        raise not_a(noun, leaves[index], name, index, shape)
    if spec.dtype_name == "string":
        return _strings(leaves, shape, name)
    return to_numbers(leaves, shape, name, spec)


def flatten(value: Any, name: str, spec: TensorSpec) -> tuple[Sequence[Any], tuple[int, ...]]:
    """Return the leaves of nested lists in C order, and the lists' shape, checked against the spec's.

    Works a whole level at a time: no Python code runs for the single value unless it is wrong.
    """
    expected = (None,) * _depth(value) if spec.shape is None else spec.shape
    level: Sequence[Any] = [value]
    shape: tuple[int, ...] = ()
    for size in expected:
        if not set(map(type, level)) <= {list}:
            index = next(i for i, item in enumerate(level) if type(item) is not list)
            raise not_a(f"list (expected {len(expected)} levels of lists)", level[index], name, index, shape)
        if not level:  # below an empty list the sizes can't be seen
            shape += (size or 0,)
            continue
        wanted = len(level[0]) if size is None else size
        if not set(map(len, level)) <= {wanted}:
            index = next(i for i, item in enumerate(level) if len(item) != wanted)
            raise _wrong_size(wanted, len(level[index]), name, index, shape)
        level = list(chain.from_iterable(level))
        shape += (wanted,)
    return level, shape


def to_numbers(
    leaves: Sequence[Any], shape: tuple[int, ...], name: str, spec: TensorSpec, allow_nan: bool = False
) -> np.ndarray:
    """Return Python numbers as an array; raises BadRequestError for one that the dtype can't hold, or not finite.

    ``allow_nan`` is for formats that take NaN and Infinity: there a float beyond its dtype becomes infinite.
    """
    try:
        with np.errstate(over="ignore"):
            # NumPy makes no bfloat16, ml_dtypes' own type, of whole numbers beyond a C long.
            array = np.array(leaves, np.float64 if spec.dtype_name == "bfloat16" else spec.dtype)
            if array.dtype != spec.dtype:
                array = array.astype(spec.dtype)
    except OverflowError:
        index = next(i for i, leaf in enumerate(leaves) if not _fits(leaf, spec.dtype))
        raise not_a(spec.dtype_name, leaves[index], name, index, shape) from None
    if spec.dtype.kind not in "iub" and not allow_nan:
        wrong = first_not_finite(array)
        if wrong is not None:
            raise not_a(f"finite {spec.dtype_name}", leaves[wrong], name, wrong, shape)
    return array.reshape(shape)


def first_not_finite(array: np.ndarray) -> int | None:
    """Return the index of the first NaN or infinity in C order, None where there is none."""
    # The method all() is Python code in NumPy; a search of bytes is not.
    index = np.isfinite(array).tobytes().find(0)
    return None if index < 0 else index


def place_of(index: int, shape: tuple[int, ...]) -> tuple[str, dict[str, object]]:
    """Say where the index-th value of a tensor stands: in words, and as members of the problem's body."""
    if not shape:
        return "", {}
    position = [int(axis) + 1 for axis in np.unravel_index(index, shape)]
    if len(position) == 1:
        return f", in row {position[0]}", {"row": position[0]}
    if len(position) == 2:
        return f", in row {position[0]}, column {position[1]}", {"row": position[0], "column": position[1]}
    return f", at position {position}", {"position": position}


def to_json(array: np.ndarray, name: str) -> bytes:
    """Return an array as nested JSON lists. Floats are printed as short as their own dtype reads them back.

    Raises PredictionError for NaN and infinities, which JSON can't carry.
    """
    if array.dtype == object:
        texts = np.vectorize(_text, otypes=[object])(array).tolist() if array.size else array.tolist()
        return json.dumps(texts).encode()
    if array.dtype.kind not in "iub" and first_not_finite(array) is not None:
        raise PredictionError(f"Output {name!r} holds NaN or Infinity, which JSON can't carry.")
    if array.dtype.kind == "V":  # bfloat16, which orjson doesn't know
        array = array.astype(np.float32)
    if array.ndim == 0:  # nor that
        return to_json(array.reshape(1), name)[1:-1]
    if array.dtype == np.float16:  # which orjson writes as the longer text of the same float32
        return str(array.astype(np.str_).tolist()).replace("'", "").replace(" ", "").encode()
    array = np.ascontiguousarray(array)
    if array.size <= _PIECE_VALUES or len(array) == 1:
        return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    return _joined(array)


def _joined(array: np.ndarray) -> bytes:
    # orjson takes a hundred bytes for each row while it writes; a piece at a time, that is little.
    step = max(1, _PIECE_VALUES * len(array) // array.size)
    starts = range(0, len(array), step)
    pieces = (orjson.dumps(array[start : start + step], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for start in starts)
    return b"[%b]" % b",".join(pieces)


def _depth(value: Any) -> int:
    depth = 0
    while type(value) is list:
        depth += 1
        value = value[0] if value else None
    return depth


def leaf_types(spec: TensorSpec) -> tuple[set[type], str]:
    """Return the Python types that JSON's values for a spec have, and what an error message calls one of them."""
    if spec.dtype_name == "string":
        return {str}, "string"
    if spec.dtype.kind == "b":
        return {bool}, "true or false"
    if spec.dtype.kind in "iu":
        return {int}, "whole number"
    return {int, float}, "number"


def _strings(leaves: Sequence[str], shape: tuple[int, ...], name: str) -> np.ndarray:
    array = np.empty(len(leaves), object)
    try:
        array[:] = [leaf.encode() for leaf in leaves]
    except UnicodeEncodeError as error:  # half of a surrogate pair, such as "\ud800"
        index = next(i for i, leaf in enumerate(leaves) if leaf == error.object)
        raise not_a("string of whole Unicode characters", leaves[index], name, index, shape) from None
    return array.reshape(shape)


def _fits(value: Any, dtype: np.dtype) -> bool:
    try:
        np.array(value, dtype)
    except (OverflowError, TypeError):  # the latter from bfloat16
        return False
    return True


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def not_a(noun: str, value: Any, name: str, index: int, shape: tuple[int, ...]) -> BadRequestError:
    """Return the error for the index-th value of a tensor, which is no ``noun``."""
    where, members = place_of(index, shape)
    return BadRequestError(f"{name}: expected a {noun}, got {quote(value)}{where}.", input=name, **members)


def quote(value: Any) -> str:
    """Return a client's value as an error message repeats it: its beginning, or what it is."""
    # A list or object can be as large as the body, and too deep to be written.
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        if len(value) > 3 or any(isinstance(item, list | dict) for item in inner):
            return f"a list of {len(value)}" if isinstance(value, list) else "an object"
    quote = json.dumps(value, ensure_ascii=False)
    return quote if len(quote) <= _LONGEST_QUOTE else quote[:_LONGEST_QUOTE] + "..."


def _wrong_size(expected: int, got: int, name: str, index: int, shape: tuple[int, ...]) -> BadRequestError:
    where, members = place_of(index, shape)
    noun = ("rows", "columns")[len(shape)] if len(shape) < 2 else "values"
    return BadRequestError(
        f"{name}: expected {expected} {noun}, got {got}{where}.",
        input=name,
        expected=expected,
        got=got,
        **members,
    )
