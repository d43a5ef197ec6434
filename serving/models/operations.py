"""What an endpoint can ask of the models: the repository's blocking calls, awaited on the event loop.

Every protocol is written in these terms, so that none of them loads, warms up or waits in a way of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from serving.engines.signature import Signature
from serving.models.model import Model
from serving.models.repository import Repository
from serving.settings import Settings
from serving.status import VersionStatus

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# For requests that wait for a load. Apart from the threads that work, so that those are not all taken by waiting.
_loads = ThreadPoolExecutor(64, "load")


class Operations:
    """The models of a repository. ``in_thread`` is entered in a thread that works for a request."""

    def __init__(
        self, repository: Repository, in_thread: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._repository = repository
        self._in_thread = in_thread

    def loaded(self, name: str, version: int | None = None) -> Model | None:
        """Return a model's version, the latest by default, if it is loaded."""
        return self._repository.loaded(name, version)

    async def load(self, name: str, version: int | None = None) -> Model:
        """Return a model's version, loading it if necessary; raises what ``Repository.get`` does."""
        return await self._call(_loads, self._repository.get, name, version)

    async def ready(self, name: str | None = None, version: int | None = None) -> Model:
        """Return a model, the default one without a name, once it has answered: loaded and warmed up if necessary.

        A client that polls readiness sends nothing else, so the poll itself must trigger the load. Raises
        ModelNotFoundError, ModelUnavailableError or PredictionError.
        """
        if name is None:
            name = await self._call(None, self._repository.default_name)
        model = self.loaded(name, version) or await self.load(name, version)
        if not model.has_answered:
            await self._call(None, model.warm_up)
        return model

    async def status(self, name: str | None = None) -> list[VersionStatus]:
        """Return the state of every version of a model, the highest first, or of all models by name.

        Raises ModelNotFoundError for a name that is no model's.
        """
        return await self._call(None, self._status, name)

    def _status(self, name: str | None) -> list[VersionStatus]:
        names = self._repository.names() if name is None else [name]
        return [status for one in names for status in self._repository.status(one)]

    async def version_of(self, name: str, label: str) -> int:
        """Return the version that a label points to; raises ModelNotFoundError."""
        return await self._call(None, self._repository.version_of, name, label)

    async def signatures(self) -> dict[str, tuple[int, Mapping[str, Signature]]]:
        """Return each model's latest version and its signatures, by name; a model without readable ones is left out."""
        return await self._call(None, self._repository.all_signatures)

    @property
    def settings(self) -> Settings:
        """The app's settings."""
        return self._repository.settings

    def folder(self, name: str) -> Path:
        """Return the folder of a model's versions, which need not exist."""
        return self.settings.model_path / name

    async def _call(
        self,
        threads: Executor | None,
        function: Callable[_Parameters, _Result],
        *args: _Parameters.args,
        **options: _Parameters.kwargs,
    ) -> _Result:
        # The context carries the invocation's id, for the log.
        call = partial(copy_context().run, self._marked, partial(function, *args, **options))
        result: _Result = await asyncio.get_running_loop().run_in_executor(threads, call)
        return result

    def _marked(self, call: Callable[[], _Result]) -> _Result:
        with self._in_thread():
            return call()
