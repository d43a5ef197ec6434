"""HTTP: from an Azure Functions request to its response. The one place that knows ``azure.functions``.

Hands the request to a protocol; whatever the protocol raises becomes the protocol's own error reply here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

import azure.functions as func
import orjson

from serving.errors import (
    BodyTooLargeError,
    MethodNotAllowedError,
    ModelUnavailableError,
    PredictionError,
    ServingError,
)
from serving.exchange import Exchange, Reply
from serving.models import repository

if TYPE_CHECKING:
    from serving.telemetry import Telemetry  # imported where it is turned on only, for it takes long

_logger = logging.getLogger("serving.request")

# Every HTTP function imports this module, and the worker imports the functions before it takes requests.
repository.preload_in_background()


class Answering(Protocol):
    """A protocol: how its requests are answered, and how it tells a client of an error."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer a request; raises ServingError."""

    def error(self, error: ServingError) -> Reply:
        """Return the reply that tells a client of an error."""


async def handle(
    request: func.HttpRequest, protocol: Answering, context: func.Context | None = None
) -> func.HttpResponse:
    """Answer a request by a protocol. Never raises: a client gets the protocol's error, the log gets the cause.

    Writes one log line of JSON with the outcome and the time each part took, and nothing of the data. With the worker's
    ``context``, what is logged in a thread carries the invocation's id too.
    """
    try:
        exchange = Exchange(
            method=request.method,
            path=request.route_params.get("path", ""),
            headers=request.headers,
            body=request.get_body(),
            models=repository.shared(),
            in_thread=partial(_thread_of, context),
        )
    except Exception as error:  # a bad app setting
        _logger.exception("The app can't answer")
        return _response(protocol.error(_hidden(error)), {})
    reply = await _reply(exchange, protocol)
    _log(exchange, reply)
    if exchange.models.settings.telemetry and (telemetry := _telemetry()):
        telemetry.record(exchange, reply.status)
    return _response(reply, _told_of(exchange))


@contextmanager
def _thread_of(context: func.Context | None) -> Iterator[None]:
    """Mark a thread as one that works for an invocation: the worker finds the id of a log record there."""
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
    """Return what takes note of requests for OpenTelemetry; None, said once in the log, where it can't be set up."""
    try:
        from serving.telemetry import shared

        return shared()
    except ImportError as error:
        _logger.warning("Telemetry is on, but %s; add the packages that docs/operating.md names.", error)
    except Exception:
        _logger.exception("Telemetry is on, but can't be set up")
    return None


async def _reply(exchange: Exchange, protocol: Answering) -> Reply:
    try:
        _check_size(exchange)
        return await protocol.answer(exchange)
    except ServingError as error:
        if isinstance(error, PredictionError):
            _logger.exception("Model %s failed", exchange.facts.get("model"))
        exchange.facts["error"] = type(error).__name__
        reply = protocol.error(error)
        return Reply(reply.body, reply.status, reply.content_type, {**reply.headers, **_headers_of(error)})
    except Exception as error:
        _logger.exception("Unexpected error")
        exchange.facts["error"] = type(error).__name__
        return protocol.error(_hidden(error))


def _check_size(exchange: Exchange) -> None:
    size, limit = len(exchange.body), exchange.models.settings.max_body_bytes
    if size > limit:
        raise BodyTooLargeError(f"The body has {size} bytes; at most {limit} are taken.", limit=limit)


def _hidden(error: Exception) -> ServingError:
    hidden = ServingError("An unexpected error occurred; the server's log has it.")
    hidden.__cause__ = error
    return hidden


def _headers_of(error: ServingError) -> dict[str, str]:
    if isinstance(error, MethodNotAllowedError):
        return {"Allow": error.allow}
    if isinstance(error, ModelUnavailableError):
        return {"Retry-After": str(error.retry_after_seconds)}
    return {}


def _told_of(exchange: Exchange) -> dict[str, str]:
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
