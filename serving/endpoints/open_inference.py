"""The Open Inference Protocol v2, for every model: server, model and repository, with its own form of errors."""

from __future__ import annotations

from functools import partial

from serving import __version__
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.errors import (
    BadRequestError,
    ModelNotFoundError,
    ModelUnavailableError,
    NotFoundError,
    PredictionError,
    ServingError,
)
from serving.exchange import Exchange, Reply
from serving.wire import classes, npy, open_inference
from serving.wire import open_inference_status as status
from serving.wire.open_inference_status import Route

SERVER_NAME = "keras-functions"


class OpenInference:
    """The endpoint of everything below ``v2``."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer what the rest of the path asks for; raises ServingError."""
        route = status.parse_path(exchange.path.strip("/"))
        if route is None:
            raise NotFoundError(f"The protocol has no path v2/{exchange.path}.")
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
        """Return the reply for an error, in the protocol's own form."""
        return Reply(status.error_body(str(error)), error.status)


async def _infer(exchange: Exchange, route: Route) -> Reply:
    assert route.model is not None
    length = open_inference.header_length(exchange.headers.get(open_inference.HEADER_LENGTH))
    model = await exchange.model(route.model, route.version)
    signature = model.signature()
    if _media_type(exchange, "content-type") == npy.MEDIA_TYPE:
        request = await exchange.decode(open_inference.decode_npy, exchange.body, signature)
    else:
        reserve = exchange.share.reserve
        request = await exchange.decode(open_inference.decode_infer, exchange.body, length, signature, reserve)
    classifiers = {name: model.classifier(name) for name in request.classes}  # before the model runs
    fetches = await exchange.run(model, DEFAULT_SIGNATURE, request.feeds)
    if _media_type(exchange, "accept") == npy.MEDIA_TYPE:
        return Reply(await exchange.encode(npy.encode, fetches, list(request.outputs)), content_type=npy.MEDIA_TYPE)
    if classifiers:
        named = {name: classes.as_tensor(fetches, one, request.classes[name]) for name, one in classifiers.items()}
        fetches = {**fetches, **named}
        signature = signature.with_strings(classifiers)
    encode = partial(open_inference.encode_infer, model.name, model.version, request)
    body, json_length = await exchange.encode(encode, fetches, signature)
    if json_length is None:
        return Reply(body)
    return Reply(body, 200, "application/octet-stream", {open_inference.HEADER_LENGTH: str(json_length)})


def _media_type(exchange: Exchange, header: str) -> str:
    return (exchange.headers.get(header) or "").partition(";")[0].strip().lower()


async def _index(exchange: Exchange) -> Reply:
    ready_only = status.decode_index(exchange.body)
    return Reply(status.repository_index(await exchange.models.status(), ready_only))


async def _server(exchange: Exchange, route: Route) -> Reply:
    if route.action == "live":
        return Reply(status.server_live())
    if route.action == "ready":
        ready = await _is_ready(exchange, None, None)
        return Reply(status.server_ready(ready), 200 if ready else 503)
    return Reply(status.server_metadata(SERVER_NAME, __version__))


async def _model(exchange: Exchange, name: str, route: Route) -> Reply:
    if route.action == "ready":
        ready = await _is_ready(exchange, name, route.version)
        return Reply(status.model_ready(name, ready), 200 if ready else 503)
    versions = sorted(one.version for one in await exchange.models.status(name))
    version, engine, signatures = await exchange.models.describe(name, route.version)
    if DEFAULT_SIGNATURE not in signatures:
        raise BadRequestError(f"Model {name}/{version} has no signature {DEFAULT_SIGNATURE!r}.")
    return Reply(status.model_metadata(name, versions, engine, signatures[DEFAULT_SIGNATURE]))


async def _is_ready(exchange: Exchange, name: str | None, version: int | None) -> bool:
    try:
        if name is None:
            await exchange.models.ready()
        else:
            await exchange.models.check_loadable(name, version)
    except (ModelUnavailableError, PredictionError):
        return False
    except ModelNotFoundError:
        if name is not None:
            raise
        return False  # an app without models
    return True
