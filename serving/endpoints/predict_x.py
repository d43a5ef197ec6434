"""The 2017 article's format: POST rows to a function that serves one model, get labels."""

from __future__ import annotations

import logging

from serving.endpoints.problem import ProblemEndpoint
from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.exchange import Exchange, Reply
from serving.models.model import Model
from serving.wire import x_labels

_logger = logging.getLogger("serving")


class PredictX(ProblemEndpoint):
    """An endpoint for the latest version of one model."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._unsuited = ""  # the version that was last logged

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer ``{"X": ...}`` with ``{"labels": ...}``; raises ServingError."""
        exchange.allow("POST")
        exchange.expect_json()
        model = await self._model(exchange)
        signature = model.signature(x_labels.SIGNATURE)
        if len(signature.inputs) != 1 and self._unsuited != str(model):
            self._unsuited = str(model)
            _logger.error(
                "Model %s has the inputs %s; the 2017 format takes one input. Use the other protocols for it",
                *(model, ", ".join(signature.inputs)),
            )
        feeds = await exchange.decode(x_labels.decode, exchange.body, signature, exchange.share.reserve)
        fetches = await exchange.run(model, x_labels.SIGNATURE, feeds)
        return Reply(await exchange.encode(x_labels.encode, fetches, model.preprocessing.classifier))

    async def _model(self, exchange: Exchange) -> Model:
        try:
            return await exchange.model(self._model_name)
        except ModelNotFoundError as error:
            # The function named the model, not the client.
            folder = exchange.models.folder(self._model_name)
            _logger.error(
                "Model %r has no version in %s; expected one such as %s", self._model_name, folder, f"{folder}/1"
            )
            raise ModelUnavailableError(
                f"Model {self._model_name} could not be loaded; the server's log says why."
            ) from error
