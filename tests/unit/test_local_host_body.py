"""A request's body is read up to a limit."""

import asyncio
from typing import Any

import pytest

from tools.local_host.body import BodyTooLargeError, ClientDisconnectedError, read_body

MAX_BYTES = 8


def read(*messages: dict[str, Any], declared: int | None = None) -> tuple[bytes, int]:
    """Read a body from these ASGI messages; returns it and the number of messages left unread."""
    left = list(messages)
    headers = [] if declared is None else [(b"content-length", str(declared).encode())]

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    return asyncio.run(read_body({"headers": headers}, receive, MAX_BYTES)), len(left)


def part(body: bytes, *, last: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": not last}


def test_the_parts_of_a_body_are_joined() -> None:
    assert read(part(b"1234"), part(b"5678"), part(b"", last=True)) == (b"12345678", 0)


def test_a_request_may_have_no_body() -> None:
    assert read({"type": "http.request"}) == (b"", 0)


def test_a_body_with_a_declared_length_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(BodyTooLargeError):
        # Without messages, an attempt to read would fail.
        read(declared=MAX_BYTES + 1)


def test_a_body_is_refused_as_soon_as_it_exceeds_the_limit() -> None:
    with pytest.raises(BodyTooLargeError):
        # The body is not complete; an attempt to read on would fail.
        read(part(b"12345678"), part(b"9"))


def test_a_client_that_disconnects_before_its_body_is_complete_is_reported() -> None:
    with pytest.raises(ClientDisconnectedError):
        read(part(b"1234"), {"type": "http.disconnect"})
