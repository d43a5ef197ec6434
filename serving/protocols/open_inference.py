"""The Open Inference Protocol v2: server, model and repository, for every model, with its own form of errors."""

from __future__ import annotations

from serving.errors import (
    ModelNotFoundError,
    ModelUnavailableError,
    PredictionError,
    ServingError,
    UnsupportedMediaTypeError,
)
from serving.exchange import Exchange, Reply
from serving.served_model import State
from serving.signature import DEFAULT_SIGNATURE
from serving.wire import open_inference
from serving.wire import open_inference_server as server
from serving.wire.open_inference_server import IndexEntry, Route

SERVER_NAME = "keras-functions"
SERVER_VERSION = "1.0.0"

_STATES: dict[State, server.State] = {
    State.AVAILABLE: "READY",
    State.LOADING: "LOADING",
    State.START: "UNAVAILABLE",
    State.END: "UNAVAILABLE",
}


class OpenInference:
    """The endpoint of everything below ``v2``."""

    def answer(self, exchange: Exchange) -> Reply:
        """Answer what the rest of the path asks for; raises ServingError."""
        route = server.parse_path(exchange.path.strip("/"))
        if route is None:
            raise ModelNotFoundError(f"The protocol has no path v2/{exchange.path}.")
        if route.action == "infer":
            exchange.allow("POST")
            return _infer(exchange, route)
        if route.action == "index":
            exchange.allow("POST", "GET", "HEAD")
            return _index(exchange)
        exchange.allow("GET", "HEAD")
        return _server(exchange, route) if route.model is None else _model(exchange, route.model, route)

    def error(self, error: ServingError) -> Reply:
        """Return the reply that tells a client of an error."""
        return Reply(server.error_body(str(error)), error.status)


def _infer(exchange: Exchange, route: Route) -> Reply:
    encoding = exchange.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"The body is encoded as {encoding}; expected no encoding.")
    assert route.model is not None
    length = open_inference.header_length(exchange.headers.get(open_inference.HEADER_LENGTH))
    model = exchange.model(route.model, route.version)
    signature = model.signature()
    request = open_inference.decode_infer(exchange.body, length, signature)
    exchange.stopwatch.lap("parse")
    fetches = exchange.run(model, DEFAULT_SIGNATURE, request.feeds)
    body, json_length = open_inference.encode_infer(model.name, model.version, request, fetches, signature)
    exchange.stopwatch.lap("encode")
    if json_length is None:
        return Reply(body)
    return Reply(body, 200, "application/octet-stream", {open_inference.HEADER_LENGTH: str(json_length)})


def _index(exchange: Exchange) -> Reply:
    ready_only = server.decode_index(exchange.body)
    entries = [
        IndexEntry(name, status.version, _STATES[status.state], status.error)
        for name in exchange.models.names()
        for status in exchange.models.status(name)
    ]
    return Reply(server.repository_index(entry for entry in entries if entry.state == "READY" or not ready_only))


def _server(exchange: Exchange, route: Route) -> Reply:
    if route.action == "live":
        return Reply(server.server_live())
    if route.action == "ready":
        ready = bool(exchange.models.names()) and _is_ready(exchange, exchange.models.default_name(), None)
        return Reply(server.server_ready(ready), 200 if ready else 503)
    return Reply(server.server_metadata(SERVER_NAME, SERVER_VERSION))


def _model(exchange: Exchange, name: str, route: Route) -> Reply:
    if route.action == "ready":
        ready = _is_ready(exchange, name, route.version)
        return Reply(server.model_ready(name, ready), 200 if ready else 503)
    model = exchange.model(name, route.version)
    versions = [status.version for status in exchange.models.status(name)]
    return Reply(server.model_metadata(name, sorted(versions), model.signature()))


def _is_ready(exchange: Exchange, name: str, version: int | None) -> bool:
    """Tell whether a model answers, loading it first: who waits for it to be ready asks for nothing else."""
    try:
        model = exchange.model(name, version)
        if not model.has_answered:
            model.warm_up()
    except (ModelUnavailableError, PredictionError):
        return False
    return True
