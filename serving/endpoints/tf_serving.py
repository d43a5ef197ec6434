"""TensorFlow Serving's REST API, for every model: predict, classify, regress, status and metadata."""

from __future__ import annotations

from functools import partial

from serving.errors import BadRequestError, ModelNotFoundError, ServingError
from serving.exchange import Exchange, Reply
from serving.models.model import Model
from serving.wire import classes, tf_serving, tf_serving_status
from serving.wire.tf_serving_status import Route


class TfServing:
    """The endpoint of everything below ``v1/models``."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer what the rest of the path asks for; raises ServingError."""
        route = tf_serving_status.parse_path(exchange.path)
        if route is None:
            raise BadRequestError(f"Malformed request: {exchange.method} /v1/models/{exchange.path}")
        if route.action in ("status", "metadata"):
            exchange.allow("GET", "HEAD")
            return await (_status(exchange, route) if route.action == "status" else _metadata(exchange, route))
        exchange.allow("POST")
        return await (_predict(exchange, route) if route.action == "predict" else _run_examples(exchange, route))

    def error(self, error: ServingError) -> Reply:
        """Return the reply for an error, in TensorFlow Serving's own form."""
        return Reply(tf_serving_status.error_body(str(error)), error.status)


async def _predict(exchange: Exchange, route: Route) -> Reply:
    model = await _model(exchange, route)
    reserve = exchange.share.reserve
    request = await exchange.decode(tf_serving.decode_predict, exchange.body, model.signatures, reserve)
    fetches = await exchange.run(model, request.signature, request.feeds)
    return Reply(await exchange.encode(tf_serving.encode_predict, fetches, by_rows=request.by_rows))


async def _run_examples(exchange: Exchange, route: Route) -> Reply:
    model = await _model(exchange, route)
    encode = tf_serving.encode_classification if route.action == "classify" else tf_serving.encode_regression
    reserve = exchange.share.reserve
    request = await exchange.decode(tf_serving.decode_examples, exchange.body, model.signatures, reserve)
    if route.action == "classify" and model.preprocessing.picture is not None:
        encode = partial(classes.encode_results, classifier=model.classifier())
    fetches = await exchange.run(model, request.signature, request.feeds)
    return Reply(await exchange.encode(encode, fetches))


async def _model(exchange: Exchange, route: Route) -> Model:
    return await exchange.model(route.model, await _version(exchange, route))


async def _version(exchange: Exchange, route: Route) -> int | None:
    if route.label is not None:
        return await exchange.models.version_of(route.model, route.label)
    return route.version or None  # some clients send 0 for the latest


async def _status(exchange: Exchange, route: Route) -> Reply:
    wanted = await _version(exchange, route)
    statuses = await exchange.models.status(route.model)
    if wanted is not None:
        statuses = [status for status in statuses if status.version == wanted]
        if not statuses:
            raise ModelNotFoundError(f"Model {route.model} has no version {wanted}.")
    return Reply(tf_serving_status.status(route.model, statuses))


async def _metadata(exchange: Exchange, route: Route) -> Reply:
    version, _, signatures = await exchange.models.describe(route.model, await _version(exchange, route))
    return Reply(tf_serving_status.metadata(route.model, version, signatures))
