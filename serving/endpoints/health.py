"""Whether the app is live and ready: ``GET health`` or ``health/ready``, and ``health/live``.

Live: the process answers; no model is touched. Ready: the default model has answered a prediction since it was loaded.
A probe loads and warms up the default model, and no other, so that an instance without traffic becomes ready too. After
a failure it does so at intervals that grow. Probes have no key, so an answer names no model, unless the operator wants
that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from serving.endpoints.problem import ProblemEndpoint
from serving.errors import ModelNotFoundError, ModelUnavailableError, NotFoundError, PredictionError
from serving.exchange import Exchange, Reply
from serving.models.operations import Operations


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
        details["models"] = await _states(models)
    else:
        details.clear()
    body = {"status": "ready" if status == 200 else "not ready", **details}
    return _reply(body, status, {} if status == 200 else {"Retry-After": str(seconds)})


async def _states(models: Operations) -> dict[str, dict[str, str]]:
    """Return the state of every version of every model, by name and version."""
    states: dict[str, dict[str, str]] = {}
    for status in await models.status():
        states.setdefault(status.name, {})[str(status.version)] = status.state
    return states


def _reply(body: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    # A probe's answer holds for this moment only.
    return Reply(json.dumps(body).encode(), status, headers={"Cache-Control": "no-store", **(headers or {})})
