"""HTTP: from an Azure Functions request to its response. The one place that knows status codes and headers.

Calls down into the repository, a wire format and the model; everything they raise becomes a response here.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Protocol

import azure.functions as func
import numpy as np

from serving import repository
from serving.errors import (
    BodyTooLargeError,
    MethodNotAllowedError,
    ModelNotFoundError,
    ModelUnavailableError,
    PredictionError,
    ServingError,
    UnsupportedMediaTypeError,
)
from serving.model import Model
from serving.repository import Repository
from serving.signature import Signature
from serving.stopwatch import Stopwatch

_logger = logging.getLogger("serving.request")


class Wire(Protocol):
    """A wire format: a module of two pure functions."""

    SIGNATURE: str
    CONTENT_TYPE: str

    def decode(self, body: bytes, signature: Signature) -> dict[str, np.ndarray]:
        """Return the feeds in a request body; raises BadRequestError."""

    def encode(self, outputs: dict[str, np.ndarray]) -> bytes:
        """Return the response body for the fetches; raises PredictionError for what the format can't carry."""


def predict(request: func.HttpRequest, model_name: str, wire: Wire) -> func.HttpResponse:
    """Answer a prediction request: 200 with the wire format's body, or a problem (RFC 9457) saying what is wrong.

    Writes one log line of JSON with the outcome and the time each part took, and nothing of the data.
    """
    stopwatch = Stopwatch()
    facts: dict[str, object] = {"model": model_name}
    try:
        response = _predict(request, model_name, wire, stopwatch, facts)
    except ServingError as error:
        if isinstance(error, PredictionError):
            _logger.exception("Model %s failed", model_name)
        facts["error"] = type(error).__name__
        response = _problem(error)
    except Exception as error:
        _logger.exception("Unexpected error")
        facts["error"] = type(error).__name__
        response = _problem(ServingError("An unexpected error occurred; the server's log has it."))
    if stopwatch.laps:
        response.headers["Server-Timing"] = stopwatch.server_timing()
    if "version" in facts:
        response.headers["X-Model"] = f"{model_name}/{facts['version']}"
    _log(response, facts, stopwatch)
    return response


def _predict(
    request: func.HttpRequest, model_name: str, wire: Wire, stopwatch: Stopwatch, facts: dict[str, object]
) -> func.HttpResponse:
    models = repository.shared()
    body = _checked_body(request, models.settings.max_body_bytes)
    model = models.loaded(model_name)
    if model is None:
        model = _load(models, model_name)
        stopwatch.lap("load")
    facts["version"] = model.version
    feeds = wire.decode(body, model.signature(wire.SIGNATURE))
    stopwatch.lap("parse")
    outputs = model.predict(feeds, wire.SIGNATURE)
    stopwatch.lap("predict")
    content = wire.encode(outputs)
    stopwatch.lap("encode")
    facts["rows"] = max((len(array) for array in feeds.values() if array.ndim), default=1)
    return func.HttpResponse(content, mimetype=wire.CONTENT_TYPE)


def _load(models: Repository, name: str) -> Model:
    try:
        return models.get(name)
    except ModelNotFoundError as error:
        # The client did not name it: the function did.
        _logger.error(
            "No version of model %r lies under %s; expected %s/1/ or the like", name, models.settings.model_path, name
        )
        raise ModelUnavailableError(f"Model {name} could not be loaded; the server's log says why.") from error


def _checked_body(request: func.HttpRequest, max_bytes: int) -> bytes:
    if request.method != "POST":
        raise MethodNotAllowedError(f"{request.method} is not answered here; send POST.", allow="POST")
    body: bytes = request.get_body()
    if len(body) > max_bytes:
        raise BodyTooLargeError(f"The body has {len(body)} bytes; at most {max_bytes} are taken.", limit=max_bytes)
    content_type = request.headers.get("content-type")
    if content_type and not _is_json(content_type):
        raise UnsupportedMediaTypeError(f"The content type is {content_type}; expected application/json.")
    return body


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _problem(error: ServingError) -> func.HttpResponse:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": str(error),
        **error.extra,
    }
    headers = {}
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = error.allow
    if isinstance(error, ModelUnavailableError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False),
        status_code=error.status,
        headers=headers,
        mimetype="application/problem+json",
    )


def _log(response: func.HttpResponse, facts: dict[str, object], stopwatch: Stopwatch) -> None:
    status = response.status_code
    timings = {f"{part}_ms": round(milliseconds, 3) for part, milliseconds in stopwatch.laps.items()}
    _logger.log(
        logging.ERROR if status >= 500 else logging.INFO,
        "%s",
        json.dumps({"status": status, **facts, **timings}),
    )
