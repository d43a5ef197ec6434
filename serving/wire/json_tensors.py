"""JSON values to tensors and back. Rows and columns in error messages count from 1."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import orjson

from serving.engines.signature import Reserve, TensorSpec
from serving.errors import BadRequestError, BodyTooLargeError, PredictionError

_LONGEST_QUOTE = 40  # characters of a client's value that an error message repeats
_PIECE_VALUES = 16 * 1024  # of a large array, written at a time

TOO_DEEP = "The body is nested too deeply to be read."

_MOST_DIMENSIONS = 64  # NumPy's own limit

# json holds the interpreter's lock for a second for each 10 MB.
_LENIENT_BYTES = 1024 * 1024

# Bytes that the values of a body take as Python objects, at most: a list, an object, each of its members, a string and
# what is made of it, a number with its places in lists and arrays. A smaller body takes too little to be counted.
_COSTS = {b"[": 72, b"{": 240, b":": 100, b'"': 50, b",": 48}
_COUNTED_BYTES = 16 * 1024

# Nothing else runs while orjson makes them, for a tenth of a second, nor while they are freed.
_MOST_LISTS = 1_000_000


def free(size: int) -> None:
    """Ask for nothing: the memory of a caller that counts none."""


def parse(body: bytes, reserve: Reserve = free) -> Any:
    """Return the JSON value in a request body; raises BadRequestError with the place of a syntax error.

    NaN and Infinity are not JSON. They are accepted here, so that the tensor's check can name their row and column. In
    a large body they are not.
    """
    if len(body) > _COUNTED_BYTES:
        return _parse_large(body, reserve)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_large(body: bytes, reserve: Reserve) -> Any:
    counts = {mark: body.count(mark) for mark in _COSTS}
    lists = counts[b"["] + counts[b"{"]
    if lists > _MOST_LISTS:
        what = f"The body has {lists} lists and objects, which are not all of one shape; the limit is {_MOST_LISTS}."
        raise BodyTooLargeError(what, limit=_MOST_LISTS)
    reserve(sum(cost * counts[mark] for mark, cost in _COSTS.items()))
    try:
        with _no_garbage_collection():
            return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if len(body) > _LENIENT_BYTES:
            raise BadRequestError(f"The body is not JSON: {error}.") from None
        return _parse_leniently(body)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python from searching a million new lists for garbage, again and again while they are made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parse_leniently(body: bytes) -> Any:
    """Parse what orjson rejects: json accepts some of it (such as NaN), and its error messages are better."""
    try:
        return json.loads(body)
    except RecursionError:
        raise BadRequestError(TOO_DEEP) from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise BadRequestError(f"The body is not JSON: {str(error).partition(';')[0]}.") from None


def to_tensor(value: Any, name: str, spec: TensorSpec) -> np.ndarray:
    """Return nested lists of JSON values as an array of the spec's dtype, in a shape that the spec allows.

    Raises BadRequestError with the input's name, the place, what was expected and what was received.
    """
    leaves, shape = flatten(value, name, spec)
    check_types(leaves, shape, name, spec)
    return to_strings(leaves, shape, name) if spec.dtype_name == "string" else to_numbers(leaves, shape, name, spec)


def flatten(value: Any, name: str, spec: TensorSpec) -> tuple[Sequence[Any], tuple[int, ...]]:
    """Return the leaves of nested lists in C order, and the shape of the lists, which the spec accepts.

    Works level by level, so that Python code runs for a single value only if it is wrong.
    """
    expected = (None,) * _depth(value) if spec.accepted_shape is None else spec.accepted_shape
    if len(expected) > _MOST_DIMENSIONS:
        raise BadRequestError(f"{name}: expected at most {_MOST_DIMENSIONS} levels of lists.", input=name)
    level: Sequence[Any] = [value]
    shape: tuple[int, ...] = ()
    for size in expected:
        if not set(map(type, level)) <= {list}:
            index = next(i for i, item in enumerate(level) if type(item) is not list)
            raise wrong_value(_levels(len(expected)), level[index], name, index, shape)
        if not level:  # sizes below an empty list are unknown
            shape += (size or 0,)
            continue
        wanted = len(level[0]) if size is None else size
        if not set(map(len, level)) <= {wanted}:
            index = next(i for i, item in enumerate(level) if len(item) != wanted)
            raise wrong_size(wanted, len(level[index]), name, index, shape)
        level = list(chain.from_iterable(level))
        shape += (wanted,)
    return level, shape


def _levels(count: int) -> str:
    return "a list" if count == 1 else f"{count} levels of lists"


def refuse_shape(shape: tuple[int, ...], first: Sequence[Any], name: str, spec: TensorSpec) -> None:
    """Raise what ``to_tensor`` does for lists of a shape that the spec does not accept.

    ``first`` are the first values of the first innermost list.
    """
    expected = spec.accepted_shape or ()
    for level, size in enumerate(expected):
        if level == len(shape):
            raise wrong_value(_levels(len(expected)), first[0], name, 0, shape)
        if size not in (None, shape[level]):
            raise wrong_size(size, shape[level], name, 0, shape[:level])
    inner: list[Any] = [*first, *[None] * (shape[-1] - len(first))]
    for size in reversed(shape[len(expected) : -1]):
        inner = [inner] * size
    raise wrong_value(_leaf_types(spec)[1], inner, name, 0, shape[: len(expected)])


def to_numbers(leaves: Sequence[Any], shape: tuple[int, ...], name: str, spec: TensorSpec) -> np.ndarray:
    """Return finite numbers as an array of a shape; see ``numbers``."""
    return numbers(leaves, shape, name, spec).reshape(shape)


def numbers(
    leaves: Sequence[Any],
    shape: tuple[int, ...],
    name: str,
    spec: TensorSpec,
    first: int = 0,
    allow_nan: bool = False,
) -> np.ndarray:
    """Return numbers of a tensor, from its ``first`` one on, as an array of one dimension.

    Raises BadRequestError for a number that is not finite or that the dtype can't hold. With ``allow_nan``, NaN and
    Infinity are accepted, and a float beyond the range of its dtype becomes infinite.
    """
    try:
        with np.errstate(over="ignore"):
            # NumPy can't make bfloat16, a type of ml_dtypes, from whole numbers beyond a C long.
            dtype = np.dtype(np.float64) if spec.dtype_name == "bfloat16" else spec.dtype
            # Twice as fast as np.array, which looks at each value first.
            array = np.fromiter(leaves, dtype, len(leaves))
            if dtype != spec.dtype:
                array = array.astype(spec.dtype)
    except OverflowError:
        index = next(i for i, leaf in enumerate(leaves) if not _fits(leaf, spec.dtype))
        article = "an" if spec.dtype.kind == "i" else "a"
        raise wrong_value(f"{article} {spec.dtype_name}", leaves[index], name, first + index, shape) from None
    if spec.dtype.kind not in "iub" and not allow_nan:
        wrong = first_not_finite(array)
        if wrong is not None:
            raise wrong_value(f"a finite {spec.dtype_name}", leaves[wrong], name, first + wrong, shape)
    return array


def first_not_finite(array: np.ndarray) -> int | None:
    """Return the index of the first NaN or infinity in C order; None if every value is finite."""
    # Faster than the method all(), which is Python code in NumPy.
    index = np.isfinite(array).tobytes().find(0)
    return None if index < 0 else index


def place_of(index: int, shape: tuple[int, ...]) -> tuple[str, dict[str, object]]:
    """Return the place of the index-th value of a tensor: in words, and as members of a problem document."""
    if not shape:
        return "", {}
    position = [int(axis) + 1 for axis in np.unravel_index(index, shape)]
    if len(position) == 1:
        return f", in row {position[0]}", {"row": position[0]}
    if len(position) == 2:
        return f", in row {position[0]}, column {position[1]}", {"row": position[0], "column": position[1]}
    return f", at position {position}", {"position": position}


def to_json(array: np.ndarray, name: str) -> bytes:
    """Return an array as nested JSON lists, each float with the fewest digits that its dtype reads back exactly.

    Raises PredictionError for NaN and infinities, which JSON can't represent.
    """
    if array.dtype == object:
        return joined(array, _texts)
    if array.dtype.kind not in "iub" and first_not_finite(array) is not None:
        raise PredictionError(f"Output {name!r} contains NaN or Infinity, which JSON can't represent.")
    if array.dtype.kind == "V":  # bfloat16, which orjson can't write
        array = array.astype(np.float32)
    if array.ndim == 0:  # which orjson can't write either
        return to_json(array.reshape(1), name)[1:-1]
    if array.dtype == np.float16:  # which orjson writes with the digits of a float32
        return str(array.astype(np.str_).tolist()).replace("'", "").replace(" ", "").encode()
    array = np.ascontiguousarray(array)
    return joined(array, _numbers_to_json)


def joined(array: np.ndarray, write: Callable[[np.ndarray], bytes]) -> bytes:
    """Return the JSON of an array, which is written a few rows at a time if it is large.

    orjson needs about a hundred bytes per row while it writes, and nothing else runs meanwhile.
    """
    if array.size <= _PIECE_VALUES or len(array) == 1:
        return write(array)
    step = max(1, _PIECE_VALUES * len(array) // array.size)
    starts = range(0, len(array), step)
    return b"[%b]" % b",".join([write(array[start : start + step])[1:-1] for start in starts])


def _numbers_to_json(array: np.ndarray) -> bytes:
    return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)


def _texts(array: np.ndarray) -> bytes:
    return json.dumps(np.vectorize(_text, otypes=[object])(array).tolist()).encode()


def _depth(value: Any) -> int:
    depth = 0
    while type(value) is list:
        depth += 1
        value = value[0] if value else None
    return depth


def check_types(leaves: Sequence[Any], shape: tuple[int, ...], name: str, spec: TensorSpec, first: int = 0) -> None:
    """Raise BadRequestError for the first leaf whose JSON type does not suit the spec's dtype.

    ``leaves`` are those of a tensor of a shape, from its ``first`` one on.
    """
    types, expected = _leaf_types(spec)
    if not set(map(type, leaves)) <= types:
        index = next(i for i, leaf in enumerate(leaves) if type(leaf) not in types)
        raise wrong_value(expected, leaves[index], name, first + index, shape)


def _leaf_types(spec: TensorSpec) -> tuple[set[type], str]:
    """Return the Python types of a spec's JSON values, and how an error message names one."""
    if spec.dtype_name == "string":
        return {str}, "a string"
    if spec.dtype.kind == "b":
        return {bool}, "true or false"
    if spec.dtype.kind in "iu":
        return {int}, "a whole number"
    return {int, float}, "a number"


def to_strings(leaves: Sequence[str], shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return strings as an object array of UTF-8 bytes; raises BadRequestError for one that is not valid Unicode."""
    array = np.empty(len(leaves), object)
    try:
        array[:] = [leaf.encode() for leaf in leaves]
    except UnicodeEncodeError as error:  # half of a surrogate pair, such as "\ud800"
        index = next(i for i, leaf in enumerate(leaves) if leaf == error.object)
        raise wrong_value("a valid Unicode string", leaves[index], name, index, shape) from None
    return array.reshape(shape)


def _fits(value: Any, dtype: np.dtype) -> bool:
    try:
        np.array(value, dtype)
    except (OverflowError, TypeError):  # the latter from bfloat16
        return False
    return True


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def wrong_value(expected: str, value: Any, name: str, index: int, shape: tuple[int, ...]) -> BadRequestError:
    """Return the error for the index-th value of a tensor; ``expected`` begins with its article."""
    where, members = place_of(index, shape)
    return BadRequestError(f"{name}: expected {expected}, got {quote(value)}{where}.", input=name, **members)


def quote(value: Any) -> str:
    """Return a client's value for an error message: its beginning, or a description such as ``a list of 5``."""
    # A list or object can be as large as the body, or nested too deeply to be written.
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        if len(value) > 3 or any(isinstance(item, list | dict) for item in inner):
            return f"a list of {len(value)}" if isinstance(value, list) else "an object"
    quote = json.dumps(value, ensure_ascii=False)
    return quote if len(quote) <= _LONGEST_QUOTE else quote[:_LONGEST_QUOTE] + "..."


def wrong_size(expected: int, got: int, name: str, index: int, shape: tuple[int, ...]) -> BadRequestError:
    """Return the error for the index-th list of a level of lists, whose length is not the expected one."""
    where, members = place_of(index, shape)
    noun = ("row", "column")[len(shape)] if len(shape) < 2 else "value"
    message = f"{name}: expected {expected} {noun}{'s' * (expected != 1)}, got {got}{where}."
    return BadRequestError(message, input=name, expected=expected, got=got, **members)
