"""Errors that carry their HTTP status. Raised where the mistake is seen; turned into HTTP by ``serving.http`` only.

ServingError                    500  an unexpected error
BadRequestError               400
NotFoundError                 404  an unknown path
ModelNotFoundError          404  an unknown model, version or label
MethodNotAllowedError         405
BodyTooLargeError             413
UnsupportedMediaTypeError     415
PredictionError               500  the model failed
UnavailableError              503  not now; the client may try again
  BusyError                   503  the requests in work take all the memory
  ModelUnavailableError       503  the model can't be loaded now
    OutOfMemoryError          503  there is too little memory to load the model
    RunTimeoutError           503  the model takes too long to answer
"""

from __future__ import annotations

import math
from collections.abc import Mapping


class ServingError(Exception):
    """A request can't be answered; ``str(error)`` is one sentence for the client.

    ``extra`` holds the machine-readable place of the mistake (``row``, ``column``, ``input``, ...).
    """

    status = 500

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.extra: Mapping[str, object] = extra


class BadRequestError(ServingError):
    """The request is not what the wire format requires."""

    status = 400


class NotFoundError(ServingError):
    """Nothing is served at this path."""

    status = 404


class ModelNotFoundError(NotFoundError):
    """There is no such model, version or label."""


class MethodNotAllowedError(ServingError):
    """The endpoint does not take this HTTP method; ``allow`` lists those that it takes."""

    status = 405

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class BodyTooLargeError(ServingError):
    """The request body is larger than the app allows."""

    status = 413


class UnsupportedMediaTypeError(ServingError):
    """The Content-Type is not supported by this endpoint."""

    status = 415


class PredictionError(ServingError):
    """The engine failed while it ran the model, or the wire format can't carry the answer."""


class UnavailableError(ServingError):
    """The request can't be answered now, but may be after ``retry_after_seconds``."""

    status = 503

    def __init__(self, detail: str, retry_after_seconds: float = 5, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.retry_after_seconds = math.ceil(retry_after_seconds)


class BusyError(UnavailableError):
    """The requests in work take all the memory that there is for them."""


class ModelUnavailableError(UnavailableError):
    """The model can't be loaded now; a later request tries again."""


class OutOfMemoryError(ModelUnavailableError):
    """There is too little memory to load the model."""


class RunTimeoutError(ModelUnavailableError):
    """The model takes too long to answer: this request, or others that it is still running."""
