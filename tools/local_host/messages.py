"""Converts an ASGI request to an ``azure.functions.HttpRequest`` and an ``HttpResponse`` to ASGI.

Pure functions that treat URLs, headers and parameters as the Functions host does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import azure.functions as func

Scope = Mapping[str, Any]


class Answer(NamedTuple):
    """A response as ASGI sends it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def empty_answer(status: int) -> Answer:
    """Return an answer without a body, as the Functions host sends when no function answers."""
    return Answer(status, [(b"content-length", b"0")], b"")


def redirect(path: str) -> Answer:
    """Return an answer that leads to another path."""
    return Answer(302, [(b"location", path.encode()), (b"content-length", b"0")], b"")


def routed_path(scope: Scope) -> str:
    """Return the decoded path. An encoded slash stays encoded, so that it does not start a new segment."""
    raw: bytes = scope["raw_path"]
    if b"%" not in raw:
        return str(scope["path"])
    return unquote(raw.decode("ascii").replace("%2f", "%252f").replace("%2F", "%252F"))


def request_from(scope: Scope, body: bytes, route_params: dict[str, str]) -> func.HttpRequest:
    """Return the request that a function receives; its URL is absolute."""
    headers = _joined([(name.decode("ascii"), value.decode(errors="replace")) for name, value in scope["headers"]])
    url = f"{scope['scheme']}://{headers.get('host', 'localhost')}{scope['raw_path'].decode('ascii')}"
    params: dict[str, str] = {}
    if query := scope["query_string"].decode("ascii", errors="replace"):
        url = f"{url}?{query}"
        params = _joined(parse_qsl(query))
    return func.HttpRequest(
        method=scope["method"], url=url, headers=headers, params=params, route_params=route_params, body=body
    )


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a dict; the values of a repeated name are joined by commas."""
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    values = {}
    for name, value in pairs:
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def answer_from(response: func.HttpResponse) -> Answer:
    """Return the answer for a function's response; raises ValueError or TypeError if it is invalid."""
    status = int(response.status_code)
    if not 200 <= status <= 599:
        raise ValueError(f"the status code is {status}; it must be from 200 to 599")
    given = [(name.lower().encode("ascii"), str(value).encode()) for name, value in response.headers.items()]
    # Replaced by the length of the body, because a wrong one would break the connection.
    headers = [pair for pair in given if pair[0] != b"content-length"]
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", _content_type(response).encode()))
    if status in (204, 304):
        return Answer(status, headers, b"")
    body: bytes = response.get_body()
    headers.append((b"content-length", str(len(body)).encode()))
    return Answer(status, headers, body)


def _content_type(response: func.HttpResponse) -> str:
    # As in azure.functions' own converter, only text has a charset.
    if response.mimetype.startswith("text/"):
        return f"{response.mimetype}; charset={response.charset}"
    return str(response.mimetype)
