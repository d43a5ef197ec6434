"""One model in all its versions: each is loaded once, and the latest that loads is served until a newer one loads.

Thread-safe. The function that loads a version is a parameter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from serving.engines.errors import EngineNotFoundError, TensorFlowError
from serving.engines.graph import UnsafeGraphError
from serving.engines.signature import signatures_of_file
from serving.errors import ModelNotFoundError, ModelUnavailableError, OutOfMemoryError
from serving.models import export_record, versions
from serving.models.backoff import Backoff
from serving.models.fallback_export import FallbackExportError
from serving.models.model import Model
from serving.models.threads import settle
from serving.models.versions import Fingerprint
from serving.status import State, VersionStatus

_logger = logging.getLogger("serving")

Loader = Callable[[str, Path], Model]
InThread = Callable[[], AbstractContextManager[None]]

# Errors whose message says all that the model's owner needs; others are logged with their stack trace.
_REFUSALS = (
    *(OSError, ValueError, TypeError),
    *(EngineNotFoundError, TensorFlowError, UnsafeGraphError, FallbackExportError),
)


# When to ask again after a file that can't be read.
_UNREADABLE_SECONDS = 5.0


@dataclass
class _Failure:
    """A failed load: the fingerprint of the version's folder at that time, the error, and when to try again."""

    fingerprint: Fingerprint
    error: str = ""
    backoff: Backoff = field(default_factory=Backoff)


class ServedModel:
    """A model's versions. ``latest`` serves requests that name no version; it is None until one is loaded.

    ``evicted`` is the version that was the latest until its memory was needed for others; its next request loads it.
    """

    def __init__(self, name: str, find: Callable[[], Mapping[int, Path]], load: Loader) -> None:
        self.name = name
        self.latest: Model | None = None
        self.evicted: int | None = None
        self._find = find
        self._load = load
        self._loaded: dict[int, Model] = {}
        self._loading: dict[int | None, Future[Model]] = {}
        self._failures: dict[int, _Failure] = {}
        self._seen: dict[int, Fingerprint] = {}
        self._missing: set[int] = set()  # loaded, but not on disk when that was last looked at
        self._lock = Lock()

    def get(self, version: int | None = None, in_thread: InThread = nullcontext) -> Model:
        """Return a version, the latest by default; load it first if necessary.

        Raises ModelNotFoundError if there is no such version, ModelUnavailableError if it can't be loaded.
        """
        return self.start(version, in_thread).result()

    def start(self, version: int | None = None, in_thread: InThread = nullcontext) -> Future[Model]:
        """Return a version, the latest by default, once it is loaded; see ``get``.

        A load has a thread of its own, in which ``in_thread`` is entered. Whoever else waits for it needs none.
        """
        with self._lock:
            if version in self._loading:
                return self._loading[version]
            future: Future[Model] = Future()
            future.set_running_or_notify_cancel()
            model = self.loaded(version)
            if model is not None:
                future.set_result(model)
                return future
            self._loading[version] = future
        work = copy_context().run, self._load_in_thread, future, version, in_thread
        Thread(target=work[0], args=work[1:], name=f"load {self.name}", daemon=True).start()
        return future

    def _load_in_thread(self, future: Future[Model], version: int | None, in_thread: InThread) -> None:
        def load() -> Model:
            with in_thread():
                try:
                    return self._load_latest(in_thread) if version is None else self._load_version(version)
                finally:
                    with self._lock:
                        del self._loading[version]

        settle(future, load)

    def loaded(self, version: int | None = None) -> Model | None:
        """Return a version, the latest by default, if it is loaded."""
        return self.latest if version is None else self._loaded.get(version)

    def all_loaded(self) -> list[Model]:
        """Return all versions that are loaded."""
        with self._lock:
            return list(self._loaded.values())

    def evict(self, model: Model) -> None:
        """Let a version go, so that its memory is free after its last request."""
        with self._lock:
            self._loaded.pop(model.version, None)
            if self.latest is model:
                self.latest, self.evicted = None, model.version

    def on_disk(self, version: int | None = None) -> tuple[int, Path]:
        """Return a version, the highest by default, and its folder; raises ModelNotFoundError."""
        found = self._find()
        number = max(found, default=None) if version is None else version
        return number or 0, self._folder(found, number)

    def check_loadable(self, version: int | None = None) -> None:
        """Raise what keeps a version, the latest by default, from being loaded, as far as that is known.

        Raises ModelNotFoundError or ModelUnavailableError.
        """
        on_disk = self._find()
        wanted = list(on_disk) if version is None else [version]
        self._folder(on_disk, wanted[0] if wanted else version)
        waits = [self._seconds_left(one, on_disk[one]) for one in wanted if _is_readable(on_disk[one])]
        wait = min(waits, default=_UNREADABLE_SECONDS)
        if wait > 0:
            raise self._unavailable(version, wait)

    def status(self) -> list[VersionStatus]:
        """Return the state of every version on disk or loaded, the highest first."""
        on_disk = self._find()
        with self._lock:
            return [self._status_of(version) for version in sorted({*on_disk, *self._loaded}, reverse=True)]

    def upgrade(self) -> None:
        """Follow the disk: let deleted versions go, and replace the latest by a newer one whose files are complete.

        A model that is not in use is not loaded. An old version is released when its last request has ended. A version
        that fails to load is tried again only after its files have changed.
        """
        on_disk = self._find()
        self._drop_deleted(on_disk)
        current = self.latest
        if current is None:
            return
        for version in sorted((number for number in on_disk if number > current.version), reverse=True):
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

    def _drop_deleted(self, on_disk: Mapping[int, Path]) -> None:
        """Let versions go whose folders were gone at the last look too: one may be about to be replaced."""
        with self._lock:
            missing = self._loaded.keys() - on_disk
            deleted, self._missing = missing & self._missing, missing
            latest = self.latest
            for version in deleted - {latest.version if latest else None}:
                del self._loaded[version]
        if latest is None or latest.version not in deleted:
            return
        try:
            self._replace_latest(self._load_highest(on_disk))
        except (ModelNotFoundError, ModelUnavailableError):
            self.evict(latest)
            self.evicted = None
            _logger.warning("Model %s is no longer served: its folder was deleted", latest)

    def _replace_latest(self, model: Model) -> None:
        with self._lock:
            old, self.latest = self.latest, model
            if old is not None and old is not model:
                self._loaded.pop(old.version, None)
        why = ", whose folder was deleted" if old and old.version > model.version else ""
        _logger.info("Model %s is served%s", model, f" instead of version {old.version}{why}" if old else "")

    def _load_latest(self, in_thread: InThread) -> Model:
        model = self._load_highest(self._find(), in_thread)
        self.latest, self.evicted = model, None
        return model

    def _load_highest(self, on_disk: Mapping[int, Path], in_thread: InThread = nullcontext) -> Model:
        if not on_disk:
            raise ModelNotFoundError(f"There is no model {self.name!r}.", model=self.name)
        failures = []
        for version in sorted(on_disk, reverse=True):
            try:
                return self.get(version, in_thread)
            except ModelUnavailableError as error:
                failures.append(error)
        for failure in failures:
            if isinstance(failure, OutOfMemoryError):
                raise failure
        raise self._unavailable(None, min(failure.retry_after_seconds for failure in failures))

    def _load_version(self, version: int) -> Model:
        folder = self._folder(self._find(), version)
        wait = self._seconds_left(version, folder)
        if wait > 0:
            raise self._unavailable(version, wait)
        try:
            model = self._load(self.name, folder)
        except OutOfMemoryError as error:
            _logger.error("%s", error)
            raise
        except Exception as error:
            _logger.error(
                "Model %s/%d could not be loaded from %s: %s: %s",
                *(self.name, version, folder, type(error).__name__, error),
                exc_info=not isinstance(error, _REFUSALS),
            )
            raise self._unavailable(version, self._fail(version, folder, error)) from error
        self._failures.pop(version, None)
        self._loaded[version] = model
        return model

    def _folder(self, on_disk: Mapping[int, Path], version: int | None) -> Path:
        if version is None:
            raise ModelNotFoundError(f"There is no model {self.name!r}.", model=self.name)
        if version not in on_disk:
            known = ", ".join(map(str, sorted(on_disk))) or "none"
            raise ModelNotFoundError(
                f"Model {self.name} has no version {version}; it has: {known}.", model=self.name, version=version
            )
        return on_disk[version]

    def _seconds_left(self, version: int, folder: Path) -> float:
        """Return the seconds until a version that failed to load is tried again; 0 if its files have changed."""
        failure = self._failures.get(version)
        if failure is None or failure.fingerprint != versions.fingerprint(folder):
            return 0.0
        return failure.backoff.seconds_left()

    def _fail(self, version: int, folder: Path, error: Exception) -> float:
        """Record a failed load; return the seconds until it is tried again."""
        fingerprint = versions.fingerprint(folder)
        failure = self._failures.get(version)
        if failure is None or failure.fingerprint != fingerprint:
            failure = self._failures[version] = _Failure(fingerprint)
        failure.error = f"{type(error).__name__}; the log says why"
        failure.backoff.fail()
        return failure.backoff.seconds_left()

    def _unavailable(self, version: int | None, wait: float) -> ModelUnavailableError:
        what = self.name if version is None else f"{self.name}/{version}"
        return ModelUnavailableError(f"Model {what} could not be loaded; the server's log says why.", wait)

    def _status_of(self, version: int) -> VersionStatus:
        if version in self._loaded:
            return VersionStatus(self.name, version, State.AVAILABLE)
        if version in self._loading:
            return VersionStatus(self.name, version, State.LOADING)
        if version in self._failures:
            return VersionStatus(self.name, version, State.END, self._failures[version].error)
        return VersionStatus(self.name, version, State.START)


def _is_readable(folder: Path) -> bool:
    """Return whether the signatures of a folder's SavedModel can be read; one that is missing may be exported."""
    try:
        signatures_of_file(folder / export_record.SAVED_MODEL)
    except FileNotFoundError:
        return True
    except (ValueError, OSError):
        return False
    return True
