"""TensorFlow's errors, the same whichever engine raised them.

Codes are those of ``TF_Code`` (``c/tf_status.h``), which are those of ``tf.errors`` and of gRPC too.
"""

from __future__ import annotations

_NAMES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}


class EngineNotFoundError(Exception):
    """No engine can run the model: a library is not installed, or LiteRT has not been proven for it."""


class TensorFlowError(Exception):
    """A call into TensorFlow failed. ``code`` is its status code, ``code_name`` the name of that."""

    code = 2

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = self.code if code is None else code
        self.code_name = _NAMES.get(self.code, "UNKNOWN")
        # Further lines name the operation, and those that it came from.
        super().__init__(f"{self.code_name}: {' '.join(message.split())}")
        self.message = message.partition("\n")[0]


class InvalidArgumentError(TensorFlowError):
    """The graph rejects the values or shapes that it was given."""

    code = 3


class NotFoundError(TensorFlowError):
    """A file, an operation or a tensor is missing."""

    code = 5


class ResourceExhaustedError(TensorFlowError):
    """Memory ran out."""

    code = 8


class FailedPreconditionError(TensorFlowError):
    """A variable or a table is not initialized."""

    code = 9


class InternalError(TensorFlowError):
    """TensorFlow broke one of its own rules."""

    code = 13


class DataLossError(TensorFlowError):
    """A file is corrupt."""

    code = 15


_BY_CODE = {error.code: error for error in TensorFlowError.__subclasses__()}


def error_for(code: int, message: str) -> TensorFlowError:
    """Return the exception for a TensorFlow status code."""
    return _BY_CODE.get(code, TensorFlowError)(message, code)
