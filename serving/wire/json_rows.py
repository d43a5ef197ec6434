"""Large bodies of JSON numbers, read a piece at a time: a list of 20 MB as Python's floats would take 100 MB and more.

What is not the plain case (one long list of numbers, anywhere else no list) is left to the caller, and so is every
error: this never says what is wrong, only that it does not read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from serving.engines.signature import TensorSpec, shape_fits

# Smaller bodies are read as fast in one piece.
_SMALLEST_BYTES = 16 * 1024

# Pieces of this many bytes are small beside the bodies, and long enough for their number not to count.
_PIECE_BYTES = 128 * 1024

# No list of numbers has any of these: every string has quotes, true and null have a u, false and Infinity an f.
_NOT_IN_NUMBERS = (b'"', b"u", b"f")


@dataclass(frozen=True)
class NumberRows:
    """A list, or nested lists, of JSON numbers that have not been read yet: the bytes between its outer brackets."""

    body: bytes
    start: int
    stop: int

    def to_tensor(self, spec: TensorSpec) -> np.ndarray | None:
        """Return the numbers in the spec's dtype and a shape it allows; None where they aren't all fit for just that.

        Floats only: whole numbers have limits and a type of their own to be checked for.
        """
        if spec.dtype.kind != "f" or not spec.shape:
            return None
        array = self._to_array(spec.dtype, len(spec.shape))
        if array is None or not shape_fits(array.shape, spec.shape) or not np.isfinite(array).all():
            return None
        return array

    def _to_array(self, dtype: np.dtype, rank: int) -> np.ndarray | None:
        values, tail = bytearray(), None
        for start, stop in self._pieces(rank):
            try:
                with np.errstate(over="ignore"):
                    rows = np.array(orjson.loads(b"[%b]" % self.body[start:stop]), dtype)
            except (ValueError, TypeError, OverflowError):
                return None
            # A piece without rows is what a comma too many leaves.
            if rows.ndim != rank or not rows.size or tail not in (None, rows.shape[1:]):
                return None
            tail = rows.shape[1:]
            values += rows.data.cast("B")
        return np.frombuffer(values, dtype).reshape(-1, *(tail or ()))

    def _pieces(self, rank: int) -> list[tuple[int, int]]:
        """Return where to cut, between rows: after so many closing brackets, before the comma that follows them."""
        row_end = b"]" * (rank - 1) + b","
        pieces, start = [], self.start
        while (cut := self.body.find(row_end, start + _PIECE_BYTES, self.stop)) >= 0:
            comma = cut + rank - 1
            pieces.append((start, comma))
            start = comma + 1
        return [*pieces, (start, self.stop)]


def parse(body: bytes) -> dict[str, Any] | None:
    """Return a large JSON object whose one list is a NumberRows; None where the body is anything else.

    That the object without its list, and every piece of the list, is JSON makes the whole JSON.
    """
    if len(body) < _SMALLEST_BYTES:
        return None
    start, stop = body.find(b"["), body.rfind(b"]")
    head = body[:start]
    # Outside of any string there: as many quotes open as close, and none of them is escaped.
    if not 0 <= start < stop or head.count(b'"') % 2 or b"\\" in head:
        return None
    if any(body.rfind(mark, start, stop) >= 0 for mark in _NOT_IN_NUMBERS):
        return None
    try:
        document = orjson.loads(b"%b[]%b" % (head, body[stop + 1 :]))
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict:
        return None
    for name, value in document.items():
        if value == []:
            return {**document, name: NumberRows(body, start + 1, stop)}
    return None
