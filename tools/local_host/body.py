"""Reads a request's body from ASGI, up to a limit."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tools.local_host.messages import Scope

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class BodyTooLargeError(Exception):
    """The body is larger than the limit; the rest of it was not read."""


class ClientDisconnectedError(Exception):
    """The client disconnected before the body was complete."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Return the whole body; raises BodyTooLargeError as early as possible, or ClientDisconnectedError."""
    if _declared_length(scope) > max_bytes:
        raise BodyTooLargeError
    chunks = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        chunk: bytes = message.get("body", b"")
        length += len(chunk)
        if length > max_bytes:
            raise BodyTooLargeError
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _declared_length(scope: Scope) -> int:
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
