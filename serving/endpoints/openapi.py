"""``GET openapi.json``: the OpenAPI document of this app, with its functions and models as they are now."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from serving import functions
from serving.endpoints.problem import ProblemEndpoint
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.exchange import Exchange, Reply
from serving.functions import Function
from serving.openapi import document
from serving.openapi.document import ServedSignature
from serving.settings import APP_ROOT

# A name or an address, and a port. A client chooses this text, so nothing else of it gets into the document.
_HOST = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){0,8}/")

# A cache must not give one client's address to another.
_HEADERS = {"Cache-Control": "no-cache, private", "Vary": "Host, X-Forwarded-Host, X-Forwarded-Proto"}


class OpenApi(ProblemEndpoint):
    """The document's endpoint, for the function folders in an app's root folder."""

    def __init__(self, app_root: Path = APP_ROOT) -> None:
        self._app_root = app_root
        self._last: tuple[list[ServedSignature], dict[str, Any]] | None = None

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer with the document; raises ServingError."""
        exchange.allow("GET", "HEAD")
        served = [
            ServedSignature(name, signatures[DEFAULT_SIGNATURE])
            for name, (_, signatures) in (await exchange.models.signatures()).items()
            if DEFAULT_SIGNATURE in signatures
        ]
        content = await self._document(served)
        return Reply(orjson.dumps({**content, "servers": [{"url": server(exchange)}]}), headers=_HEADERS)

    async def _document(self, served: Sequence[ServedSignature]) -> dict[str, Any]:
        """Return the document of these models: the last one, if it was of the same."""
        last = self._last
        if last is None or last[0] != served:
            content = await asyncio.to_thread(document.document, served, self._functions)
            last = self._last = (list(served), content)
        return last[1]

    @cached_property
    def _functions(self) -> list[Function]:
        # The worker loads the functions once, when it starts.
        return functions.find(self._app_root)


def server(exchange: Exchange) -> str:
    """Return the base URL under which the client reached this document; "." for one that can't be in a document.

    A proxy says by X-Forwarded-Host and X-Forwarded-Proto what the client sent it. Each may be a list, the client's
    first.
    """
    url = urlsplit(exchange.url)
    host = _first(exchange, "x-forwarded-host") or url.netloc
    scheme = _first(exchange, "x-forwarded-proto").lower() or url.scheme
    path = url.path[: url.path.rfind("/") + 1]
    if scheme not in ("http", "https") or not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        return "."
    return f"{scheme}://{host}{path.rstrip('/')}"


def _first(exchange: Exchange, header: str) -> str:
    return exchange.headers.get(header, "").partition(",")[0].strip()
