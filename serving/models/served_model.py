"""One model in all its versions: each is loaded once, and the latest that loads is served until a newer one loads.

Thread-safe. The function that loads a version is a parameter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from serving.engines.errors import EngineNotFoundError, TensorFlowError
from serving.engines.graph import UnsafeGraphError
from serving.errors import ModelNotFoundError, ModelUnavailableError
from serving.models import versions
from serving.models.fallback_export import FallbackExportError
from serving.models.model import Model
from serving.models.versions import Fingerprint
from serving.status import State, VersionStatus

_logger = logging.getLogger("serving")

Loader = Callable[[str, Path], Model]

# Errors whose message says all that the model's owner needs; others are logged with their stack trace.
_REFUSALS = (
    *(OSError, ValueError, TypeError),
    *(EngineNotFoundError, TensorFlowError, UnsafeGraphError, FallbackExportError),
)


@dataclass(frozen=True)
class _Failure:
    """A failed load: the fingerprint of the version's folder at that time, and the error."""

    fingerprint: Fingerprint
    error: str


class ServedModel:
    """A model's versions. ``latest`` serves requests that name no version; it is None until one is loaded."""

    def __init__(self, name: str, find: Callable[[], Mapping[int, Path]], load: Loader) -> None:
        self.name = name
        self.latest: Model | None = None
        self._find = find
        self._load = load
        self._loaded: dict[int, Model] = {}
        self._loading: dict[int | None, Future[Model]] = {}
        self._failures: dict[int, _Failure] = {}
        self._seen: dict[int, Fingerprint] = {}
        self._lock = Lock()

    def get(self, version: int | None = None) -> Model:
        """Return a version, the latest by default; load it first if necessary.

        Raises ModelNotFoundError if there is no such version, ModelUnavailableError if it can't be loaded.
        """
        if version is None:
            return self.latest or self._once(None, self._load_latest)
        return self.loaded(version) or self._once(version, lambda: self._load_version(version))

    def loaded(self, version: int | None = None) -> Model | None:
        """Return a version, the latest by default, if it is loaded."""
        return self.latest if version is None else self._loaded.get(version)

    def status(self) -> list[VersionStatus]:
        """Return the state of every version on disk or loaded, the highest first."""
        on_disk = self._find()
        with self._lock:
            return [self._status_of(version) for version in sorted({*on_disk, *self._loaded}, reverse=True)]

    def upgrade(self) -> None:
        """Replace the latest version by a newer one, if there is one whose files have stopped changing.

        The old version is released when its last request has ended. A version that fails to load is tried again only
        after its files have changed.
        """
        on_disk = self._find()
        current = self.latest.version if self.latest else -1
        for version in sorted((number for number in on_disk if number > current), reverse=True):
            fingerprint = versions.fingerprint(on_disk[version])
            is_stable, self._seen[version] = self._seen.get(version) == fingerprint, fingerprint
            failure = self._failures.get(version)
            if not is_stable or (failure and failure.fingerprint == fingerprint):
                continue
            try:
                self._replace_latest(self.get(version))
            except ModelUnavailableError:
                continue
            return

    def _replace_latest(self, model: Model) -> None:
        with self._lock:
            old, self.latest = self.latest, model
            if old is not None:
                self._loaded.pop(old.version, None)
        _logger.info("Model %s is served%s", model, f" instead of version {old.version}" if old else "")

    def _load_latest(self) -> Model:
        on_disk = self._find()
        if not on_disk:
            raise ModelNotFoundError(f"There is no model {self.name!r}.", model=self.name)
        for version in sorted(on_disk, reverse=True):
            try:
                self.latest = self.get(version)
            except ModelUnavailableError:
                continue
            return self.latest
        raise ModelUnavailableError(f"Model {self.name} could not be loaded; the server's log says why.")

    def _load_version(self, version: int) -> Model:
        on_disk = self._find()
        if version not in on_disk:
            known = ", ".join(map(str, sorted(on_disk))) or "none"
            raise ModelNotFoundError(
                f"Model {self.name} has no version {version}; it has: {known}.", model=self.name, version=version
            )
        folder = on_disk[version]
        try:
            model = self._load(self.name, folder)
        except Exception as error:
            _logger.error(
                "Model %s/%d could not be loaded from %s: %s: %s",
                *(self.name, version, folder, type(error).__name__, error),
                exc_info=not isinstance(error, _REFUSALS),
            )
            self._failures[version] = _Failure(
                versions.fingerprint(folder), f"{type(error).__name__}; the log says why"
            )
            raise ModelUnavailableError(
                f"Model {self.name}/{version} could not be loaded; the server's log says why."
            ) from error
        self._failures.pop(version, None)
        self._loaded[version] = model
        return model

    def _once(self, key: int | None, load: Callable[[], Model]) -> Model:
        """Load, or wait for the thread that is loading; every waiting thread gets the result or the error."""
        with self._lock:
            model = self.loaded(key)
            if model is not None:
                return model
            future = self._loading.get(key)
            is_mine = future is None
            if future is None:
                future = self._loading[key] = Future()
        if is_mine:
            self._settle(future, key, load)
        return future.result()

    def _settle(self, future: Future[Model], key: int | None, load: Callable[[], Model]) -> None:
        try:
            model = load()
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            future.set_exception(error)
        else:
            with self._lock:
                del self._loading[key]
            future.set_result(model)

    def _status_of(self, version: int) -> VersionStatus:
        if version in self._loaded:
            return VersionStatus(self.name, version, State.AVAILABLE)
        if version in self._loading:
            return VersionStatus(self.name, version, State.LOADING)
        if version in self._failures:
            return VersionStatus(self.name, version, State.END, self._failures[version].error)
        return VersionStatus(self.name, version, State.START)
