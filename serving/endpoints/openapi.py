"""``GET openapi.json``: the OpenAPI document of this very app, with its models as they are now."""

from __future__ import annotations

import json
import logging
from asyncio import to_thread
from collections.abc import Mapping

from serving.endpoints.problem import problem
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.errors import ServingError
from serving.exchange import Exchange, Reply
from serving.models.repository import Repository
from serving.openapi import document as openapi
from serving.openapi.document import ServedSignature

_logger = logging.getLogger("serving")


class OpenApi:
    """The document's endpoint; ``endpoints`` are the functions of the 2017 format with the model each serves."""

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        self._endpoints = endpoints

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer with the document; raises ServingError."""
        exchange.allow("GET", "HEAD")
        # The paths lie beside this document, whatever the host and the route prefix are.
        document = openapi.document(await to_thread(_served, exchange.models), self._endpoints, server=".")
        return Reply(json.dumps(document).encode())

    def error(self, error: ServingError) -> Reply:
        """Return the reply that tells a client of an error."""
        return problem(error)


def _served(models: Repository) -> list[ServedSignature]:
    served = []
    for name in models.names():
        try:
            version, signatures = models.signatures(name)
        except (ValueError, OSError, ServingError) as error:
            _logger.warning("Model %s is left out of the OpenAPI document: %s", name, error)
            continue
        if DEFAULT_SIGNATURE in signatures:
            served.append(ServedSignature(name, version, signatures[DEFAULT_SIGNATURE]))
    return served
