"""The ASGI application: a request comes in, its function is called, the answer goes out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tools.local_host.body import BodyTooLargeError, ClientDisconnectedError, Receive, read_body
from tools.local_host.invocation import HttpFunction
from tools.local_host.messages import Answer, Scope, answer_from, empty_answer, request_from, routed_path
from tools.local_host.routes import Router

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_logger = logging.getLogger(__name__)

_NOT_FOUND = empty_answer(404)
_TOO_LARGE = empty_answer(413)
_FUNCTION_FAILED = empty_answer(500)
_STOPPING = empty_answer(503)


class FunctionsApplication:
    """Answers HTTP requests by calling functions; a route without one is that of a function which didn't load."""

    def __init__(self, router: Router[HttpFunction | None], max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if the client is still there when the answer is known."""
        answer = await self._answer(scope, receive)
        if answer is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        found = self._router.find(scope["method"], routed_path(scope))
        if found is None:
            return _NOT_FOUND
        function, route_params = found
        if function is None:
            _logger.error("%s: the function was not loaded, see above.", scope["path"])
            return _FUNCTION_FAILED
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
        except BodyTooLargeError:
            # The server goes on taking the rest of the body and throws it away, so that the client can read this.
            return _TOO_LARGE
        except ClientDisconnectedError:
            return None
        return await _call(function, scope, body, route_params)


async def _call(function: HttpFunction, scope: Scope, body: bytes, route_params: dict[str, str]) -> Answer:
    try:
        return answer_from(await function(request_from(scope, body, route_params)))
    except asyncio.CancelledError:
        _logger.error("%s was cut off: the host is stopping.", function.name)
        return _STOPPING
    except Exception:
        _logger.exception("%s failed; it was answered with 500.", function.name)
        return _FUNCTION_FAILED
