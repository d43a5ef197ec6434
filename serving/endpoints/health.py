"""Whether the app is live and ready: ``GET health`` or ``health/ready``, and ``health/live``.

Live: the process answers; no model is touched. Ready: the default model has answered a prediction since it was loaded.
Where it has not been asked for one yet the probe loads it and asks, so that an instance without traffic becomes ready
too. Anonymous, so it tells versions and states and no more.
"""

from __future__ import annotations

import json
from asyncio import to_thread
from collections.abc import Mapping

from serving.endpoints.problem import problem
from serving.errors import ModelNotFoundError, ModelUnavailableError, PredictionError, ServingError
from serving.exchange import Exchange, Reply
from serving.models.repository import Repository

_RETRY_AFTER = {"Retry-After": str(ModelUnavailableError.retry_after_seconds)}


class Health:
    """The health endpoint."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer a probe with 200, or 503 where the app is not ready; raises ServingError for what is no probe."""
        exchange.allow("GET", "HEAD")
        if exchange.path == "live":
            return _reply({"status": "live"})
        if exchange.path not in ("", "ready"):
            raise ModelNotFoundError(f"There is no probe {exchange.path!r}; there are: live, ready.")
        return await _ready(exchange)

    def error(self, error: ServingError) -> Reply:
        """Return the reply that tells a client of an error."""
        return problem(error)


async def _ready(exchange: Exchange) -> Reply:
    models = exchange.models
    try:
        model = await exchange.model(await to_thread(models.default_name))
        if not model.has_answered:
            await to_thread(model.warm_up)
    except (ModelNotFoundError, ModelUnavailableError, PredictionError) as error:
        body = {"status": "not ready", "detail": str(error), "models": await to_thread(_states, models)}
        return _reply(body, status=503, headers=_RETRY_AFTER)
    return _reply({"status": "ready", "model": str(model), "models": await to_thread(_states, models)})


def _states(models: Repository) -> dict[str, dict[str, str]]:
    """Return the state of every version of every model, by name and version."""
    return {name: {str(one.version): one.state for one in models.status(name)} for name in models.names()}


def _reply(body: Mapping[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    # A probe's answer is of this moment.
    return Reply(json.dumps(body).encode(), status, headers={"Cache-Control": "no-store", **(headers or {})})
