"""HTTP: from an Azure Functions request to its response. The one module that knows ``azure.functions``.

Hands the request to an endpoint. Whatever the endpoint raises becomes the endpoint's own error reply here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

import azure.functions as func
import orjson

from serving.budget import Budget, Share
from serving.errors import MethodNotAllowedError, PredictionError, ServingError, UnavailableError
from serving.exchange import Exchange, Reply
from serving.models import repository
from serving.models.operations import Operations
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.telemetry import Telemetry  # slow to import, so imported where it is turned on only

_logger = logging.getLogger("serving.request")

# Every HTTP function imports this module, and the worker imports the functions before it takes requests.
repository.preload_in_background()


class Endpoint(Protocol):
    """What answers a function's requests, and says how its clients read an error."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer a request; raises ServingError."""

    def error(self, error: ServingError) -> Reply:
        """Return the reply for an error."""


async def handle(
    request: func.HttpRequest, endpoint: Endpoint, context: func.Context | None = None
) -> func.HttpResponse:
    """Answer a request by an endpoint. Never raises: a client gets the endpoint's error, the log gets the cause.

    Writes one log line of JSON with the outcome and the time of each part, and none of the data. With the worker's
    ``context``, log records of threads carry the invocation's id too.
    """
    try:
        models = repository.shared()
        exchange = Exchange(
            method=request.method,
            path=request.route_params.get("path", ""),
            headers=request.headers,
            body=request.get_body(),
            models=Operations(models, partial(_invocation_in_thread, context)),
            query=request.params,
            url=request.url,
            share=Share(_budget(models.settings.work_bytes)),
        )
    except Exception as error:  # an invalid app setting
        _logger.exception("The app can't answer")
        return _response(endpoint.error(_internal_error(error)), {})
    try:
        reply = await _reply(exchange, endpoint, models.settings)
    finally:
        exchange.share.release()
    _log(exchange, reply)
    if models.settings.telemetry and (telemetry := _telemetry()):
        telemetry.record(exchange, reply.status)
    return _response(reply, _measurements(exchange))


@cache
def _budget(total: int) -> Budget:
    """Return the process's only budget; tests have others."""
    return Budget(total)


@contextmanager
def _invocation_in_thread(context: func.Context | None) -> Iterator[None]:
    """Mark the current thread as working for an invocation: the worker reads the id of a log record there."""
    storage = context.thread_local_storage if context else None
    if context and storage:
        storage.invocation_id = context.invocation_id
    try:
        yield
    finally:
        if storage:
            storage.invocation_id = None


@cache
def _telemetry() -> Telemetry | None:
    """Return what records requests for OpenTelemetry; None, logged once, where it can't be set up."""
    try:
        from serving.telemetry import shared

        return shared()
    except ImportError as error:
        _logger.warning("Telemetry is on, but %s; add the packages that docs/operating.md names.", error)
    except Exception:
        _logger.exception("Telemetry is on, but can't be set up")
    return None


async def _reply(exchange: Exchange, endpoint: Endpoint, settings: Settings) -> Reply:
    try:
        if encoding := exchange.headers.get("content-encoding"):
            await exchange.undo_encoding(encoding, settings.max_body_bytes)
        exchange.accept_body(settings.max_body_bytes)
        return await endpoint.answer(exchange)
    except ServingError as error:
        if isinstance(error, PredictionError):
            _logger.exception("Model %s failed", exchange.facts.get("model"))
        exchange.facts["error"] = type(error).__name__
        reply = endpoint.error(error)
        return Reply(reply.body, reply.status, reply.content_type, {**reply.headers, **_error_headers(error)})
    except Exception as error:
        _logger.exception("Unexpected error")
        exchange.facts["error"] = type(error).__name__
        return endpoint.error(_internal_error(error))


def _internal_error(cause: Exception) -> ServingError:
    error = ServingError("An unexpected error occurred; the server's log has the details.")
    error.__cause__ = cause
    return error


def _error_headers(error: ServingError) -> dict[str, str]:
    if isinstance(error, MethodNotAllowedError):
        return {"Allow": error.allow}
    if isinstance(error, UnavailableError):
        return {"Retry-After": str(error.retry_after_seconds)}
    return {}


def _measurements(exchange: Exchange) -> dict[str, str]:
    """Return the response headers that report time and model."""
    headers = {}
    if exchange.stopwatch.laps:
        headers["Server-Timing"] = exchange.stopwatch.server_timing()
    if "version" in exchange.facts:
        headers["X-Model"] = f"{exchange.facts['model']}/{exchange.facts['version']}"
    return headers


def _response(reply: Reply, headers: dict[str, str]) -> func.HttpResponse:
    return func.HttpResponse(
        reply.body, status_code=reply.status, headers={**reply.headers, **headers}, mimetype=reply.content_type
    )


def _log(exchange: Exchange, reply: Reply) -> None:
    level = logging.ERROR if reply.status >= 500 else logging.INFO
    if _logger.isEnabledFor(level):
        timings = {f"{part}_ms": round(milliseconds, 3) for part, milliseconds in exchange.stopwatch.laps.items()}
        _logger.log(level, "%s", orjson.dumps({"status": reply.status, **exchange.facts, **timings}).decode())
