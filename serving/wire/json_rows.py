"""Large bodies of JSON numbers, read in pieces: a list of 20 MB would take over 100 MB as Python floats.

Only the plain case is read: an object with a single list, of numbers, in lists of equal lengths; a few wrong values
among them are named. Anything else is left to the caller: the functions here return None and never say why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from serving.engines.signature import TensorSpec, shape_fits

# Smaller bodies are read just as fast in one piece.
_SMALLEST_BYTES = 16 * 1024

# Small beside the whole body, and large enough that the cost per piece does not matter.
_PIECE_BYTES = 128 * 1024

_MOST_LEVELS = 64  # NumPy's own limit

_STRUCTURE = b"[],"
_OTHER_BYTES = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_BYTES_OF_NUMBERS = b"0123456789+-.eE \t\r\n"
_WITHOUT_BRACKETS = bytes.maketrans(b"[]", b"  ")

# Of a list that is refused, for an error message: one with more is described by their number.
_QUOTED_VALUES = 4

# Of text that is searched or rewritten at a time, as nothing else runs meanwhile.
_SLICE_BYTES = 1024 * 1024

# Returns leaves as an array of the spec's dtype; the tensor's shape and the index of the first leaf are for its errors.
# The last argument says that the leaves are known to be of types that suit the dtype.
Convert = Callable[[Sequence[Any], tuple[int, ...], int, bool], np.ndarray]

# Raises what is wrong with lists of a shape that does not fit, given the first values of the first innermost list.
Refuse = Callable[[tuple[int, ...], Sequence[Any]], Any]


@dataclass(frozen=True)
class NumberRows:
    """A list, or nested lists, of JSON numbers, not yet parsed: a body from one index to another, brackets included."""

    body: bytes
    start: int
    stop: int

    def to_tensor(self, spec: TensorSpec, convert: Convert, refuse: Refuse) -> np.ndarray | None:
        """Return the numbers in the spec's dtype and a shape that it allows; None if they are not what they seem.

        Raises what ``convert`` raises for numbers, and what ``refuse`` raises for a shape.
        """
        if spec.dtype_name == "string":
            return None
        # Without the bytes of numbers, only the structure is left, unless there is something else in the lists.
        shape = _shape(self._without(_BYTES_OF_NUMBERS))
        are_numbers = shape is not None and spec.dtype.kind not in "iub"
        shape = shape or _shape(self._without(_OTHER_BYTES))
        if shape is None:
            return None
        if not shape_fits(shape, spec.accepted_shape):
            self._refuse(shape, spec, refuse)
            return None
        array, count = np.empty(math.prod(shape), spec.dtype), 0
        for piece in self._pieces():
            leaves = _parsed(piece)
            if leaves is None:
                return None
            array[count : count + len(leaves)] = convert(leaves, shape, count, are_numbers)
            count += len(leaves)
        return array.reshape(shape) if count == len(array) else None

    def _without(self, delete: bytes) -> bytes:
        starts = range(self.start, self.stop, _SLICE_BYTES)
        stops = [min(start + _SLICE_BYTES, self.stop) for start in starts]
        return b"".join([self.body[a:b].translate(None, delete) for a, b in zip(starts, stops, strict=True)])

    def _pieces(self) -> Iterator[bytes]:
        """Yield the values between commas, many at a time, without brackets."""
        start = self.start
        while (cut := self.body.find(b",", start + _PIECE_BYTES, self.stop)) >= 0:
            yield self.body[start:cut].translate(_WITHOUT_BRACKETS)
            start = cut + 1
        yield self.body[start : self.stop].translate(_WITHOUT_BRACKETS)

    def _refuse(self, shape: tuple[int, ...], spec: TensorSpec, refuse: Refuse) -> None:
        """Refuse a shape, unless it may be another: of lists without values, or with strings that have commas."""
        count = min(shape[-1], _QUOTED_VALUES)
        first = _parsed(b",".join(next(self._pieces()).split(b",", count)[:count]))
        if first == [] and shape[-1] == 1 and len(shape) > 1:
            shape = (*shape[:-1], 0)
        elif first is None or len(first) != count or not self._has_plain_strings():
            return
        if not shape_fits(shape, spec.accepted_shape):
            refuse(shape, first)

    def _has_plain_strings(self) -> bool:
        """Return whether no comma and no bracket is in a string: what is left of each then are its two quotes."""
        if self.body.find(b'"', self.start, self.stop) < 0:
            return True
        quotes = self._without(_OTHER_BYTES.replace(b'"', b""))
        return self.body.find(b"\\", self.start, self.stop) < 0 and b'"' not in quotes.replace(b'""', b"")


def _shape(structure: bytes) -> tuple[int, ...] | None:
    """Return the shape of lists, of which all but brackets and commas was deleted; None if their lengths differ."""
    rank = len(structure) - len(structure.lstrip(b"["))
    if rank > _MOST_LEVELS:
        return None
    shape: tuple[int, ...] = ()
    lists, period = b"", 1  # one list of the level below and its length with a comma
    for level in range(1, rank + 1):
        end = structure.find(b"]" * level)
        # From the first bracket of this level to the end of its first list, without the two brackets.
        inner = end - (rank - level) - 1 + (level - 1)
        size, rest = divmod(inner + 1, period)
        if end < 0 or rest or size < 1:
            return None
        lists = b"[%b%b]" % ((lists + b",") * (size - 1), lists)
        period = len(lists) + 1
        shape = (size, *shape)
    return shape if lists == structure else None


def _parsed(piece: bytes) -> list[Any] | None:
    text = b"[%b]" % piece
    try:
        leaves: list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            leaves = json.loads(text)  # takes NaN and Infinity, which the caller may take or name the place of
        except ValueError:
            return None
    # A string here is a mistake, which an error message quotes; a space in it may have been a bracket.
    return None if b'"' in piece and any(type(leaf) is str and " " in leaf for leaf in leaves) else leaves


def parse(body: bytes) -> dict[str, Any] | None:
    """Return a large JSON object with its single list as a NumberRows; None if the body is anything else.

    The object without its list is parsed here, the pieces of the list later. If all are valid JSON, so is the body.
    """
    if len(body) < _SMALLEST_BYTES:
        return None
    start, stop = body.find(b"["), body.rfind(b"]") + 1
    head = body[:start]
    # An even number of quotes, none escaped: the first bracket is not in a string.
    if not 0 <= start < stop or head.count(b'"') % 2 or b"\\" in head:
        return None
    if body.find(b"{", start, stop) >= 0:  # objects, which each format reads in its own way
        return None
    try:
        document = orjson.loads(b"%b[]%b" % (head, body[stop:]))
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict:
        return None
    for name, value in document.items():
        if value == []:
            return {**document, name: NumberRows(body, start, stop)}
    return None
