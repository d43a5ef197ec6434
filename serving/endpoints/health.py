"""Whether the app is live and ready: ``GET health`` or ``health/ready``, and ``health/live``.

Live: the process answers; no model is touched. Ready: the default model has answered a prediction since it was loaded.
A probe loads and warms up the default model, and no other, so that an instance without traffic becomes ready too. After
a failure it does so at intervals that grow. Probes have no key, so an answer names no model, unless the operator wants
that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar

from serving.endpoints.problem import ProblemEndpoint
from serving.errors import ModelNotFoundError, ModelUnavailableError, NotFoundError, PredictionError
from serving.exchange import Exchange, Reply
from serving.models.operations import Operations

_Value = TypeVar("_Value")


class Health(ProblemEndpoint):
    """The health endpoint."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer a probe with 200, or with 503 where the app is not ready; raises ServingError for other requests."""
        exchange.allow("GET", "HEAD")
        if exchange.path == "live":
            return _reply({"status": "live"})
        if exchange.path not in ("", "ready"):
            raise NotFoundError(f"There is no probe {exchange.path!r}; use live or ready.")
        return await _ready(exchange.models)


async def _ready(models: Operations) -> Reply:
    details: dict[str, object] = {}
    try:
        details["model"] = await models.ready()
        status = 200
    except (ModelNotFoundError, ModelUnavailableError, PredictionError) as error:
        details["detail"] = str(error)
        status = 503
        seconds = error.retry_after_seconds if isinstance(error, ModelUnavailableError) else 5
    if models.settings.health_details:
        details |= await _details(models)
    else:
        details.clear()
    body = {"status": "ready" if status == 200 else "not ready", **details}
    return _reply(body, status, {} if status == 200 else {"Retry-After": str(seconds)})


async def _details(models: Operations) -> dict[str, object]:
    """Return the states and shares of all versions, and what keeps their store from being read."""
    trouble = models.trouble()
    details: dict[str, object] = {"store": trouble} if trouble else {}
    try:
        statuses = await models.status()
    except ModelUnavailableError:  # no list of them has been read yet
        return details
    details["models"] = _by_model((one.name, one.version, str(one.state)) for one in statuses)
    if shares := _by_model((one.name, one.version, one.weight) for one in statuses if one.weight is not None):
        details["latest"] = shares
    return details


def _by_model(values: Iterable[tuple[str, int, _Value]]) -> dict[str, dict[str, _Value]]:
    """Return a value for each version, by model and version."""
    result: dict[str, dict[str, _Value]] = {}
    for name, version, value in values:
        result.setdefault(name, {})[str(version)] = value
    return result


def _reply(body: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    # A probe's answer holds for this moment only.
    return Reply(json.dumps(body).encode(), status, headers={"Cache-Control": "no-store", **(headers or {})})
