"""The ASGI application: matches each request to a function, calls it and sends the answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

from tools.local_host.body import BodyTooLargeError, ClientDisconnectedError, Receive, read_body
from tools.local_host.invocation import HttpFunction
from tools.local_host.messages import Answer, Scope, answer_from, empty_answer, redirect, request_from, routed_path
from tools.local_host.routes import Route

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_logger = logging.getLogger(__name__)

_NOT_FOUND = empty_answer(404)
_TOO_LARGE = empty_answer(413)
_FUNCTION_FAILED = empty_answer(500)
_STOPPING = empty_answer(503)


class FunctionsApplication:
    """Answers HTTP requests by calling functions; the function of a route is None if it could not be loaded.

    The root leads to the path ``home``, if there is one.
    """

    def __init__(
        self, routed: Iterable[tuple[Route, HttpFunction | None]], max_body_bytes: int, home: str | None = None
    ) -> None:
        self._home = home
        self._routed = sorted(routed, key=lambda pair: pair[0].specificity)
        self._max_body_bytes = max_body_bytes
        # Trying each route takes a tenth of a short request. The parameters reach functions as read-only mappings.
        self._find = lru_cache(1024)(self._find_anew)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless the client disconnects before it is complete."""
        answer = await self._answer(scope, receive)
        if answer is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        found = self._find(scope["method"], routed_path(scope))
        if found is None:
            return redirect(self._home) if self._home and scope["path"] == "/" else _NOT_FOUND
        function, route_params = found
        if function is None:
            _logger.error("%s: the function could not be loaded; see above.", scope["path"])
            return _FUNCTION_FAILED
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
        except BodyTooLargeError:
            # The server reads the rest of the body and discards it, so that the client can read this answer.
            return _TOO_LARGE
        except ClientDisconnectedError:
            return None
        return await self._call(function, scope, body, route_params)

    def _find_anew(self, method: str, path: str) -> tuple[HttpFunction | None, dict[str, str]] | None:
        """Return the function of the most specific route and the route's parameters, or None."""
        for route, function in self._routed:
            parameters = route.match(method, path)
            if parameters is not None:
                return function, parameters
        return None

    async def _call(self, function: HttpFunction, scope: Scope, body: bytes, route_params: dict[str, str]) -> Answer:
        try:
            return answer_from(await function(request_from(scope, body, route_params)))
        except asyncio.CancelledError:
            _logger.error("%s was cut off because the host is stopping.", function.name)
            return _STOPPING
        except Exception:
            _logger.exception("%s failed; the answer is 500.", function.name)
            return _FUNCTION_FAILED
