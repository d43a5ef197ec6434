"""Errors as ``application/problem+json`` (RFC 9457), for every endpoint that has no format of errors of its own."""

from __future__ import annotations

import json
from http import HTTPStatus

from serving.errors import ServingError
from serving.exchange import Reply


class ProblemEndpoint:
    """An endpoint whose errors are problem documents."""

    def error(self, error: ServingError) -> Reply:
        """Return the reply for an error: status, title, a sentence of detail, and its place as further members."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(error.status).phrase,
            "status": error.status,
            "detail": str(error),
            **error.extra,
        }
        return Reply(json.dumps(body).encode(), error.status, "application/problem+json")
