"""NumPy's file format, ``application/x-npy``: one tensor, as ``numpy.save`` writes it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib import format as npy

from serving.engines.signature import TensorSpec, shape_fits, shape_text
from serving.errors import BadRequestError

MEDIA_TYPE = "application/x-npy"

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MAX_DIMENSIONS = 64  # NumPy's own limit
_MAX_VALUES = 2**31 - 1  # of an empty tensor too, which could claim any size


def decode(body: bytes, name: str, spec: TensorSpec) -> np.ndarray:
    """Return the array in a body in the spec's dtype; raises BadRequestError. Nothing is unpickled.

    NumPy's float64 becomes the float type of the input, where that can hold the values.
    """
    file = io.BytesIO(body)
    try:
        shape, is_fortran, dtype = _READERS[npy.read_magic(file)](file)
    except Exception:  # NumPy lets those of Python's parser through
        raise BadRequestError("The body is not a NumPy file such as numpy.save writes.") from None
    if dtype.hasobject or dtype.names or dtype.kind not in "biuf" or not np.can_cast(dtype, spec.dtype, "same_kind"):
        raise BadRequestError(f"Input {name!r} has dtype {dtype}; expected {spec.dtype_name}.", input=name)
    content = memoryview(body)[file.tell() :]
    is_possible = len(shape) <= _MAX_DIMENSIONS and all(0 <= size <= _MAX_VALUES for size in shape)
    if not is_possible or math.prod(shape) > _MAX_VALUES or not shape_fits(shape, spec.accepted_shape):
        raise BadRequestError(
            f"Input {name!r} has shape {str(list(shape))[:60]}; expected {shape_text(spec.shape)}.", input=name
        )
    if len(content) != math.prod(shape) * dtype.itemsize:
        expected = math.prod(shape) * dtype.itemsize
        raise BadRequestError(f"{name}: expected {expected} bytes after the header, got {len(content)}.", input=name)
    array = np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")
    return _cast(array, name, spec)


def encode(fetches: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """Return the only output as a file; raises BadRequestError where there are several, or strings."""
    if len(names) != 1 or fetches[names[0]].dtype.kind not in "biuf":
        raise BadRequestError(f"{MEDIA_TYPE} carries one tensor of numbers; the model answers {', '.join(names)}.")
    file = io.BytesIO()
    npy.write_array(file, fetches[names[0]], allow_pickle=False)
    return file.getvalue()


def _cast(array: np.ndarray, name: str, spec: TensorSpec) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = array.astype(spec.dtype, order="C", copy=False)
    if array.dtype != spec.dtype and not np.array_equal(cast.astype(array.dtype), array, equal_nan=True):
        is_rounded = spec.dtype.kind in "fV" and (np.isfinite(cast) == np.isfinite(array)).all()
        if not is_rounded:
            raise BadRequestError(f"Input {name!r} has values that {spec.dtype_name} can't hold.", input=name)
    return cast
