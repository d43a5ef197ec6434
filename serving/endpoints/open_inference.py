"""The Open Inference Protocol v2: server, model and repository, for every model, with its own form of errors."""

from __future__ import annotations

from asyncio import to_thread
from functools import partial

from serving.engines.signature import DEFAULT_SIGNATURE
from serving.errors import (
    ModelNotFoundError,
    ModelUnavailableError,
    PredictionError,
    ServingError,
    UnsupportedMediaTypeError,
)
from serving.exchange import Exchange, Reply
from serving.models.repository import Repository
from serving.models.served_model import State
from serving.wire import open_inference
from serving.wire import open_inference_status as server
from serving.wire.open_inference_status import IndexEntry, Route

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

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer what the rest of the path asks for; raises ServingError."""
        route = server.parse_path(exchange.path.strip("/"))
        if route is None:
            raise ModelNotFoundError(f"The protocol has no path v2/{exchange.path}.")
        if route.action == "infer":
            exchange.allow("POST")
            return await _infer(exchange, route)
        if route.action == "index":
            exchange.allow("POST", "GET", "HEAD")
            return await _index(exchange)
        exchange.allow("GET", "HEAD")
        if route.model is None:
            return await _server(exchange, route)
        return await _model(exchange, route.model, route)

    def error(self, error: ServingError) -> Reply:
        """Return the reply that tells a client of an error."""
        return Reply(server.error_body(str(error)), error.status)


async def _infer(exchange: Exchange, route: Route) -> Reply:
    encoding = exchange.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"The body is encoded as {encoding}; expected no encoding.")
    assert route.model is not None
    length = open_inference.header_length(exchange.headers.get(open_inference.HEADER_LENGTH))
    model = await exchange.model(route.model, route.version)
    signature = model.signature()
    request = await exchange.decode(open_inference.decode_infer, exchange.body, length, signature)
    fetches = await exchange.run(model, DEFAULT_SIGNATURE, request.feeds)
    encode = partial(open_inference.encode_infer, model.name, model.version, request)
    body, json_length = await exchange.encode(encode, fetches, signature)
    if json_length is None:
        return Reply(body)
    return Reply(body, 200, "application/octet-stream", {open_inference.HEADER_LENGTH: str(json_length)})


async def _index(exchange: Exchange) -> Reply:
    ready_only = server.decode_index(exchange.body)
    entries = await to_thread(_entries, exchange.models)
    return Reply(server.repository_index(entry for entry in entries if entry.state == "READY" or not ready_only))


def _entries(models: Repository) -> list[IndexEntry]:
    return [
        IndexEntry(name, status.version, _STATES[status.state], status.error)
        for name in models.names()
        for status in models.status(name)
    ]


async def _server(exchange: Exchange, route: Route) -> Reply:
    if route.action == "live":
        return Reply(server.server_live())
    if route.action == "ready":
        ready = bool(await to_thread(exchange.models.names)) and await _is_default_ready(exchange)
        return Reply(server.server_ready(ready), 200 if ready else 503)
    return Reply(server.server_metadata(SERVER_NAME, SERVER_VERSION))


async def _model(exchange: Exchange, name: str, route: Route) -> Reply:
    if route.action == "ready":
        ready = await _is_ready(exchange, name, route.version)
        return Reply(server.model_ready(name, ready), 200 if ready else 503)
    model = await exchange.model(name, route.version)
    versions = [status.version for status in await to_thread(exchange.models.status, name)]
    return Reply(server.model_metadata(name, sorted(versions), model.signature()))


async def _is_default_ready(exchange: Exchange) -> bool:
    return await _is_ready(exchange, await to_thread(exchange.models.default_name), None)


async def _is_ready(exchange: Exchange, name: str, version: int | None) -> bool:
    """Tell whether a model answers, loading it first: who waits for it to be ready asks for nothing else."""
    try:
        model = await exchange.model(name, version)
        if not model.has_answered:
            await to_thread(model.warm_up)
    except (ModelUnavailableError, PredictionError):
        return False
    return True
