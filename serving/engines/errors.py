"""TensorFlow's errors: one exception type for each status code, the same for every engine.

Codes are those of ``TF_Code`` (``c/tf_status.h``), ``tf.errors`` and gRPC.
"""

from __future__ import annotations


class EngineNotFoundError(Exception):
    """TensorFlow, or the part of it that an engine needs, is not installed."""


class TensorFlowError(Exception):
    """A call into TensorFlow failed. ``code`` is TensorFlow's status code, ``code_name`` its name."""

    code = 2
    code_name = "UNKNOWN"

    def __init__(self, message: str) -> None:
        super().__init__(f"{self.code_name}: {message}")
        self.message = message


class CancelledError(TensorFlowError):
    """CANCELLED: the run or the session was cancelled."""

    code, code_name = 1, "CANCELLED"


class InvalidArgumentError(TensorFlowError):
    """INVALID_ARGUMENT: the graph rejects a tensor's value, dtype or shape."""

    code, code_name = 3, "INVALID_ARGUMENT"


class DeadlineExceededError(TensorFlowError):
    """DEADLINE_EXCEEDED: the run took longer than allowed."""

    code, code_name = 4, "DEADLINE_EXCEEDED"


class NotFoundError(TensorFlowError):
    """NOT_FOUND: there is no such file, op or tag."""

    code, code_name = 5, "NOT_FOUND"


class AlreadyExistsError(TensorFlowError):
    """ALREADY_EXISTS: a resource has this name already."""

    code, code_name = 6, "ALREADY_EXISTS"


class PermissionDeniedError(TensorFlowError):
    """PERMISSION_DENIED: a file can't be read."""

    code, code_name = 7, "PERMISSION_DENIED"


class ResourceExhaustedError(TensorFlowError):
    """RESOURCE_EXHAUSTED: memory ran out."""

    code, code_name = 8, "RESOURCE_EXHAUSTED"


class FailedPreconditionError(TensorFlowError):
    """FAILED_PRECONDITION: for example, a variable or table is not initialized."""

    code, code_name = 9, "FAILED_PRECONDITION"


class AbortedError(TensorFlowError):
    """ABORTED: the run was aborted."""

    code, code_name = 10, "ABORTED"


class OutOfRangeError(TensorFlowError):
    """OUT_OF_RANGE: a read past the end."""

    code, code_name = 11, "OUT_OF_RANGE"


class UnimplementedError(TensorFlowError):
    """UNIMPLEMENTED: there is no kernel for this op, dtype and device."""

    code, code_name = 12, "UNIMPLEMENTED"


class InternalError(TensorFlowError):
    """INTERNAL: an invariant of TensorFlow is broken."""

    code, code_name = 13, "INTERNAL"


class UnavailableError(TensorFlowError):
    """UNAVAILABLE: a device or service can't be reached."""

    code, code_name = 14, "UNAVAILABLE"


class DataLossError(TensorFlowError):
    """DATA_LOSS: a file is corrupt."""

    code, code_name = 15, "DATA_LOSS"


class UnauthenticatedError(TensorFlowError):
    """UNAUTHENTICATED: no valid credentials."""

    code, code_name = 16, "UNAUTHENTICATED"


_BY_CODE = {error.code: error for error in TensorFlowError.__subclasses__()}


def error_for(code: int, message: str) -> TensorFlowError:
    """Return the exception for a TensorFlow status code."""
    return _BY_CODE.get(code, TensorFlowError)(message)
