"""What an endpoint can ask of the models: the repository's blocking calls, awaited on the event loop.

Every protocol is written in these terms, so that none of them loads, warms up or waits in a way of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from serving.engines.signature import Signature
from serving.models.labels import Key
from serving.models.model import FIRST_RUN_SECONDS, Model
from serving.models.repository import Repository
from serving.settings import Settings
from serving.status import VersionStatus

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class Operations:
    """The models of a repository. ``in_thread`` is entered in a thread that works for a request."""

    def __init__(
        self, repository: Repository, in_thread: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._repository = repository
        self._in_thread = in_thread

    def loaded(self, name: str, version: int | None = None, key: Key | None = None) -> Model | None:
        """Return a model's version, by default the latest for a key, if it is loaded."""
        return self._repository.loaded(name, version, key)

    async def load(self, name: str, version: int | None = None, key: Key | None = None) -> Model:
        """Return a model's version, loading it if necessary; raises what ``Repository.get`` does."""
        load = await self._call(self._repository.start, name, version, self._in_thread)
        model = await asyncio.wrap_future(load)  # without a thread
        return self.loaded(name, version, key) or model  # of several that share the requests, the one for the key

    async def ready(self) -> str:
        """Return the default model and its version, once it has answered: loaded and warmed up if necessary.

        A client that polls readiness sends nothing else, so the poll itself must trigger the load. One that has been
        evicted since is ready, too. Raises ModelNotFoundError, ModelUnavailableError or PredictionError.
        """
        name = await self._call(self._repository.default_name)
        evicted = self._repository.evicted(name)
        if evicted is not None:
            return f"{name}/{evicted}"
        model = self.loaded(name) or await self.load(name)
        if not model.has_answered:
            with model.failures_of_first_run():
                first_run = asyncio.wrap_future(model.first_run())
                await asyncio.wait_for(asyncio.shield(first_run), FIRST_RUN_SECONDS)
        return str(model)

    async def check_loadable(self, name: str, version: int | None = None) -> None:
        """Raise what would keep a model that is not loaded from being loaded; see ``Repository.check_loadable``."""
        if self.loaded(name, version) is None:
            await self._call(self._repository.check_loadable, name, version)

    async def describe(self, name: str, version: int | None = None) -> tuple[int, str, Mapping[str, Signature]]:
        """Return a model's version, engine and signatures, without loading it; see ``Repository.describe``."""
        return await self._call(self._repository.describe, name, version)

    async def status(self, name: str | None = None) -> list[VersionStatus]:
        """Return the state of every version of a model, the highest first, or of all models by name.

        Raises ModelNotFoundError for a name that is no model's.
        """
        return await self._call(self._status, name)

    def _status(self, name: str | None) -> list[VersionStatus]:
        names = self._repository.names() if name is None else [name]
        return [status for one in names for status in self._repository.status(one)]

    async def version_of(self, name: str, label: str) -> int | None:
        """Return the version that a label points to; see ``Repository.version_of``."""
        return await self._call(self._repository.version_of, name, label)

    async def signatures(self) -> dict[str, tuple[int, Mapping[str, Signature]]]:
        """Return each model's latest version and its signatures, by name; a model without readable ones is left out."""
        return await self._call(self._repository.all_signatures)

    @property
    def settings(self) -> Settings:
        """The app's settings."""
        return self._repository.settings

    def folder(self, name: str) -> str:
        """Return the folder of a model's versions, which need not exist, for the log."""
        return f"{self.settings.model_path}/{name}"

    def trouble(self) -> str:
        """Return what keeps new models from being found, in one sentence for the operator; nothing if all is well."""
        return self._repository.source.trouble()

    async def _call(
        self,
        function: Callable[_Parameters, _Result],
        *args: _Parameters.args,
        **options: _Parameters.kwargs,
    ) -> _Result:
        # The context carries the invocation's id, for the log.
        call = partial(copy_context().run, self._marked, partial(function, *args, **options))
        result: _Result = await asyncio.get_running_loop().run_in_executor(None, call)
        return result

    def _marked(self, call: Callable[[], _Result]) -> _Result:
        with self._in_thread():
            return call()
