"""One static HTML page, with a policy that forbids it to load anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from serving.endpoints.problem import ProblemEndpoint
from serving.exchange import Exchange, Reply

_POLICY = (
    *("default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'"),
    "frame-ancestors 'none'",  # a key is typed into the page
)

_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Page(ProblemEndpoint):
    """The endpoint of a page whose styles and scripts are inline."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        text = self._content.decode()
        sources = [f"{kind}-src {_hashes(text, tag)}" for kind, tag in (("style", "style"), ("script", "script"))]
        policy = "; ".join([*_POLICY, *sources])
        self._headers = {"Content-Security-Policy": policy, **_HEADERS}

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer with the page; raises ServingError."""
        exchange.allow("GET", "HEAD")
        return Reply(self._content, content_type="text/html", headers=self._headers)


def _hashes(text: str, tag: str) -> str:
    """Return the sources by which a policy allows inline elements: their SHA-256 (www.w3.org/TR/CSP3)."""
    contents = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
