"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus

from serving.errors import ServingError
from serving.exchange import Reply


def problem(error: ServingError) -> Reply:
    """Return an error as a problem document: status, title, a sentence of detail, and its place as members."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": str(error),
        **error.extra,
    }
    return Reply(json.dumps(body).encode(), error.status, "application/problem+json")
