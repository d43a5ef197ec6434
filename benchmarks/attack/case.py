"""A case of an attack, and what it has to do with the app: send requests and check their answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

# Azure's front end drops a request after 230 s.
_TIMEOUT_SECONDS = 230


class Target:
    """The app under attack. ``models`` is its model folder, which a case may change while the app runs."""

    def __init__(self, url: str, models: Path) -> None:
        self.models = models
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self.client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS, limits=limits)

    async def send(
        self, method: str, path: str, expect: Collection[int] = (200,), **options: Any
    ) -> httpx.Response | None:
        """Send a request below ``/api/`` and return the response; None where there is no answer.

        Another status than those expected, or no answer, counts as wrong. ``options`` are those of httpx.
        """
        try:
            response = await self.client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.check(False, f"{method} {path}: {type(error).__name__}")
            return None
        self.statuses[response.status_code] += 1
        self.check(response.status_code in expect, f"{method} {path}: {response.status_code} {response.text[:200]}")
        return response

    async def send_all(self, count: int, method: str, path: str, **options: Any) -> list[httpx.Response | None]:
        """Send the same request many times at once; see ``send``."""
        return await asyncio.gather(*(self.send(method, path, **options) for _ in range(count)))

    def check(self, is_right: bool, what: str) -> None:
        """Count an answer as wrong unless it is right."""
        if not is_right:
            self.wrong.append(what)


@dataclass(frozen=True)
class Case:
    """An attack: what is sent, to which models, with which app settings, in how much memory.

    SIGTERM follows as soon as ``attack`` returns.
    """

    name: str
    models: Callable[[Path], None]
    attack: Callable[[Target], Awaitable[None]]
    settings: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int = 2048


@dataclass(frozen=True)
class Outcome:
    """What a case has done to the app: seconds, megabytes, and answers by status."""

    name: str
    statuses: Mapping[int, int]
    liveness: float
    peak_mb: float
    stop: float
    exit_code: int | None  # None: it had to be killed after SIGTERM
    wrong: list[str]

    @property
    def server_errors(self) -> int:
        """The number of answers with 500, 502, 504 and so on: 503 says that something is too much, and when to try."""
        return sum(count for status, count in self.statuses.items() if status >= 500 and status != 503)

    def failures(self, liveness_goal: float) -> Iterable[str]:
        """Yield a line for each goal that was missed."""
        if self.liveness > liveness_goal:
            yield f"liveness took {self.liveness:.2f} s"
        if self.exit_code != 0:
            yield "the app did not end on SIGTERM" if self.exit_code is None else f"exit code {self.exit_code}"
        if self.server_errors:
            yield f"{self.server_errors} server errors"
        yield from self.wrong
