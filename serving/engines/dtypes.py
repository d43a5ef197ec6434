"""TensorFlow's data types and the NumPy types that carry them.

Numbers are those of ``tensorflow/core/framework/types.proto`` and ``c/tf_datatype.h``. As in TensorFlow's own Python
API, an array of strings is an object array of ``bytes``.
"""

from __future__ import annotations

import numpy as np

STRING = 7
_BFLOAT16 = 14

# DataType number -> name, as both TensorFlow and NumPy spell it.
_NAMES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    STRING: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    _BFLOAT16: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}


# A reference to a variable of TensorFlow 1, DT_FLOAT_REF for one, has the number of its type plus this.
_REFERENCE = 100


def base(number: int) -> int:
    """Return the DataType of a value, given that of the value or of a reference to it."""
    return number - _REFERENCE if number > _REFERENCE else number


def name_of(number: int) -> str:
    """Return the name of DataType ``number``, e.g. ``"float32"``; raises TypeError if NumPy has no such type."""
    if number not in _NAMES:
        raise TypeError(f"TensorFlow data type {number} has no NumPy counterpart")
    return _NAMES[number]


def numpy_dtype(number: int) -> np.dtype:
    """Return the NumPy dtype for DataType ``number``: object for strings, ``ml_dtypes.bfloat16`` for bfloat16.

    Raises TypeError if NumPy has no such type.
    """
    if number == STRING:
        return np.dtype(object)
    if number == _BFLOAT16:
        # Installed with TensorFlow. The import takes some milliseconds, so only models that need it pay for it.
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name_of(number))
