"""Errors that carry their HTTP status. Raised where the mistake is seen; turned into HTTP by ``serving.http`` only."""

from __future__ import annotations

from collections.abc import Mapping


class ServingError(Exception):
    """A request that can't be answered; ``str(error)`` is one sentence for the client.

    ``extra`` holds the machine-readable place of the mistake (``row``, ``column``, ``input``, ...).
    """

    status = 500

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.extra: Mapping[str, object] = extra


class BadRequestError(ServingError):
    """The body is not what the wire format asks for."""

    status = 400


class ModelNotFoundError(ServingError):
    """There is no such model, version or label."""

    status = 404


class MethodNotAllowedError(ServingError):
    """The function does not answer this HTTP method; ``allow`` lists those it does."""

    status = 405

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class BodyTooLargeError(ServingError):
    """The body is over the app's limit."""

    status = 413


class UnsupportedMediaTypeError(ServingError):
    """The Content-Type is none the wire format takes."""

    status = 415


class PredictionError(ServingError):
    """TensorFlow failed while it ran the model, or answered what the wire format can't carry."""


class ModelUnavailableError(ServingError):
    """The model can't be loaded now; the cause is in the log and the next request tries again."""

    status = 503
    retry_after_seconds = 5
