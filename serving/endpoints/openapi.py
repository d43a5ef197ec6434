"""``GET openapi.json``: the OpenAPI document of this app, with its functions and models as they are now."""

from __future__ import annotations

import json
from pathlib import Path

from serving import functions
from serving.endpoints.problem import ProblemEndpoint
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.exchange import Exchange, Reply
from serving.openapi import document
from serving.openapi.document import ServedSignature
from serving.settings import APP_ROOT


class OpenApi(ProblemEndpoint):
    """The document's endpoint, for the function folders in an app's root folder."""

    def __init__(self, app_root: Path = APP_ROOT) -> None:
        self._app_root = app_root

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer with the document; raises ServingError."""
        exchange.allow("GET", "HEAD")
        served = [
            ServedSignature(name, version, signatures[DEFAULT_SIGNATURE])
            for name, (version, signatures) in (await exchange.models.signatures()).items()
            if DEFAULT_SIGNATURE in signatures
        ]
        # All paths are relative to this document, whatever the host and the route prefix are.
        content = document.document(served, functions.find(self._app_root), server=".")
        return Reply(json.dumps(content).encode())
