"""Large bodies of JSON numbers, read in pieces: a list of 20 MB would take over 100 MB as Python floats.

Only the plain case is read: an object with a single list, of numbers. Anything else, and every error, is left to the
caller: the functions here return None and never say why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from serving.engines.signature import TensorSpec, shape_fits

# Smaller bodies are read just as fast in one piece.
_SMALLEST_BYTES = 16 * 1024

# Small beside the whole body, and large enough that the cost per piece does not matter.
_PIECE_BYTES = 128 * 1024

# A list of numbers contains none of these: strings have quotes, true and null a u, false and Infinity an f.
_NOT_IN_NUMBERS = (b'"', b"u", b"f")


@dataclass(frozen=True)
class NumberRows:
    """A list, or nested lists, of JSON numbers, not yet parsed: ``body[start:stop]``, between the outer brackets."""

    body: bytes
    start: int
    stop: int

    def to_tensor(self, spec: TensorSpec) -> np.ndarray | None:
        """Return the numbers in the spec's dtype and a shape that it allows; None if any of them does not fit.

        Floats only: whole numbers need checks of their type and range.
        """
        if spec.dtype.kind != "f" or not spec.shape:
            return None
        array = self._to_array(spec.dtype, len(spec.shape))
        if array is None or not shape_fits(array.shape, spec.accepted_shape) or not np.isfinite(array).all():
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
            # An empty piece comes from a superfluous comma.
            if rows.ndim != rank or not rows.size or tail not in (None, rows.shape[1:]):
                return None
            tail = rows.shape[1:]
            values += rows.data.cast("B")
        return np.frombuffer(values, dtype).reshape(-1, *(tail or ()))

    def _pieces(self, rank: int) -> list[tuple[int, int]]:
        """Return the start and stop of each piece, cut at a comma between rows of the outermost list."""
        row_end = b"]" * (rank - 1) + b","
        pieces, start = [], self.start
        while (cut := self.body.find(row_end, start + _PIECE_BYTES, self.stop)) >= 0:
            comma = cut + rank - 1
            pieces.append((start, comma))
            start = comma + 1
        return [*pieces, (start, self.stop)]


def parse(body: bytes) -> dict[str, Any] | None:
    """Return a large JSON object with its single list as a NumberRows; None if the body is anything else.

    The object without its list is parsed here, the pieces of the list later. If all are valid JSON, so is the body.
    """
    if len(body) < _SMALLEST_BYTES:
        return None
    start, stop = body.find(b"["), body.rfind(b"]")
    head = body[:start]
    # An even number of quotes, none escaped: the first bracket is not in a string.
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
