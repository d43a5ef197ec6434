"""One model in all its versions: each is loaded once, and the latest that loads is served until a newer one loads.

Thread-safe. The function that loads a version is a parameter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from serving.models import export_record
from serving.models.backoff import Backoff
from serving.models.fallback_export import FallbackExportError
from serving.models.labels import LATEST, Key, Labels, Shares, choose
from serving.models.model import Model
from serving.models.sources import Source
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
    may_pass: bool = False  # it came from the network, not from the files
    backoff: Backoff = field(default_factory=Backoff)


class ServedModel:
    """A model's versions. ``latest`` serves requests that name no version; it is None until one is loaded.

    ``evicted`` is the version that was the latest until its memory was needed for others; its next request loads it.
    """

    def __init__(self, name: str, source: Source, load: Loader, labels: Labels) -> None:
        self.name = name
        self.labels = labels
        self.latest: Model | None = None
        self.evicted: int | None = None
        self._source = source
        self._load = load
        self._loaded: dict[int, Model] = {}
        self._folders: dict[int, Path] = {}  # from which a version was loaded last
        self._loading: dict[int | None, Future[Model]] = {}
        self._failures: dict[int, _Failure] = {}
        self._seen: dict[int, Fingerprint] = {}
        self._missing: set[int] = set()  # loaded, but not on disk when that was last looked at
        self._wanted: Shares = {}  # what the labels said at the last look; nothing: the highest version
        self._shares: Shares = {}  # those of them that serve
        self._split: Shares | None = None  # the same, where they are several
        self._said = ""
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
            model = self._whole_latest() if version is None else self._loaded.get(version)
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

    def loaded(self, version: int | None = None, key: Key | None = None) -> Model | None:
        """Return a version, the latest by default, if it is loaded: of several that share the requests, a key's own."""
        if version is None:
            split = self._split
            if split is None or key is None:
                return self.latest
            version = choose(self.name, split, key())
        return self._loaded.get(version)

    def _whole_latest(self) -> Model | None:
        return self.latest if self._shares.keys() <= self._loaded.keys() else None

    def evictable(self, wanted: str) -> list[Model]:
        """Return the versions that make room for a model: not those that share the requests with it."""
        name, _, version = wanted.rpartition("/")
        kept = self._wanted if name == self.name and int(version) in self._wanted else {}
        return [model for model in self.all_loaded() if model.version not in kept]

    def all_loaded(self) -> list[Model]:
        """Return all versions that are loaded."""
        with self._lock:
            return list(self._loaded.values())

    def evict(self, model: Model) -> None:
        """Let a version go, so that its memory is free after its last request."""
        with self._lock:
            self._loaded.pop(model.version, None)
            if self.latest is model:
                self.latest = next((self._loaded[one] for one in self._shares if one in self._loaded), None)
                self.evicted = None if self.latest else model.version

    def on_disk(self, version: int | None = None) -> tuple[int, Path]:
        """Return a version, the highest by default, and its folder; raises ModelNotFoundError."""
        found = self._source.find(self.name)
        number = next(iter(self._served_of(found)), None) if version is None else version
        return number or 0, self._folder(found, number)

    def check_loadable(self, version: int | None = None) -> None:
        """Raise what keeps a version, the latest by default, from being loaded, as far as that is known.

        Raises ModelNotFoundError or ModelUnavailableError.
        """
        on_disk = self._source.find(self.name)
        wanted = self._served_of(on_disk) if version is None else [version]
        self._folder(on_disk, wanted[0] if wanted else version)
        waits = [self._seconds_left(one, on_disk[one]) for one in wanted if _is_readable(on_disk[one])]
        wait = min(waits, default=_UNREADABLE_SECONDS)
        if wait > 0:
            raise self._unavailable(version, wait)

    def status(self) -> list[VersionStatus]:
        """Return the state of every version on disk or loaded, the highest first."""
        on_disk = self._source.find(self.name)
        with self._lock:
            return [self._status_of(version) for version in sorted({*on_disk, *self._loaded}, reverse=True)]

    def upgrade(self) -> None:
        """Follow the disk: let deleted versions go, and serve what the labels say, or else a newer complete version.

        A model that is not in use is not loaded. An old version is released when its last request has ended. A version
        that fails to load is tried again only after its files have changed.
        """
        on_disk = self._source.find(self.name)
        self._drop_deleted(on_disk)
        self._reload_replaced(on_disk)
        current = self.latest
        if current is None:
            return
        before, self._wanted = self._wanted, self.labels.current().get(LATEST, {})
        if self._wanted:
            evicted = (self._shares.keys() & on_disk.keys()) - self._loaded.keys()
            new = [number for number in self._wanted.keys() - evicted if self._may_serve(number, on_disk)]
            self._serve_labelled(new, evicted)
        else:
            self._serve_newer(on_disk, current, has_changed=bool(before))

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
            self._load_served(on_disk)
        except (ModelNotFoundError, ModelUnavailableError):
            self.evict(latest)
            self.evicted = None
            _logger.warning("Model %s is no longer served: its folder was deleted", latest)

    def _reload_replaced(self, on_disk: Mapping[int, Path]) -> None:
        """Load versions again whose content is in another folder now, as a store's is once it has changed."""
        for version in [one.version for one in self.all_loaded()]:
            if on_disk.get(version, self._folders[version]) == self._folders[version]:
                continue
            try:
                model = self._load_version(version)
            except ModelUnavailableError:
                continue
            with self._lock:
                if self.latest and self.latest.version == version:
                    self.latest = model
            _logger.info("Model %s is served with other files than before", model)

    def _serve_newer(self, on_disk: Mapping[int, Path], current: Model, has_changed: bool) -> None:
        """Serve the highest version that loads; ``has_changed`` says that the labels named others until now."""
        for version in sorted((number for number in on_disk if number > current.version), reverse=True):
            if self._may_load(version, on_disk[version], has_changed):
                try:
                    self._serve({version: self.get(version)}, {})
                except ModelUnavailableError:
                    continue
                return
        if has_changed:
            self._serve({current.version: current}, {})

    def _may_serve(self, version: int, on_disk: Mapping[int, Path]) -> bool:
        """Return whether a version that the labels name is loaded or may be."""
        return version in self._loaded or (version in on_disk and self._may_load(version, on_disk[version], True))

    def _may_load(self, version: int, folder: Path, is_named: bool) -> bool:
        """Return whether a version's files have stopped changing, and are not those that failed.

        What the labels name is taken to be complete until it fails: whoever names it knows.
        """
        fingerprint = self._source.fingerprint(folder)
        is_stable, self._seen[version] = self._seen.get(version) == fingerprint, fingerprint
        failure = self._failures.get(version)
        if failure is None:
            return is_stable or is_named
        return is_stable and (failure.fingerprint != fingerprint or failure.may_pass)

    def _serve(self, models: Mapping[int, Model], shares: Shares) -> None:
        """Serve these versions from now on, the latest being that with the largest share; release the others."""
        with self._lock:
            old = self.latest
            latest = models[max(models, key=lambda number: (shares.get(number, 1), number))]
            self.latest = latest
            for number in {*self._shares, *([old.version] if old else [])} - {*models, *shares}:
                self._loaded.pop(number, None)
            self._shares, self._split = shares, shares if len(shares) > 1 else None
        if old is not None and old is not latest:
            why = ", whose folder was deleted" if old.version in self._missing else ""
            _logger.info("Model %s is served instead of version %d%s", latest, old.version, why)

    def _serve_labelled(
        self, numbers: Iterable[int], evicted: Collection[int] = (), in_thread: InThread = nullcontext
    ) -> tuple[dict[int, Model], list[ModelUnavailableError]]:
        """Load and serve these of the versions that the labels name; return them, and what keeps the others from it.

        Those that are evicted are loaded by their next request.
        """
        loads = {number: self.start(number, in_thread) for number in numbers}
        models, failures = {}, []
        for number, load in loads.items():
            try:
                models[number] = load.result()
            except ModelUnavailableError as error:
                failures.append(error)
            except ModelNotFoundError:  # removed in the meantime
                continue
        shares = {one: weight for one, weight in self._wanted.items() if one in models or one in evicted}
        if models:
            self._serve(models, shares)
        self._report(shares)
        return models, failures

    def _report(self, shares: Shares) -> None:
        """Log how the requests are shared, once."""
        total = sum(shares.values())
        parts = [f"{one} ({weight} of {total})" if len(shares) > 1 else str(one) for one, weight in shares.items()]
        others = ", ".join(map(str, sorted(self._wanted.keys() - shares.keys())))
        said = f"version {', '.join(parts)}" if parts else "no version"
        if others:
            said += f"; version {others} does not exist or can't be loaded"
        if said != self._said:
            self._said = said
            _logger.log(
                logging.ERROR if others else logging.INFO,
                "The labels of model %s send its requests to %s",
                self.name,
                said,
            )

    def _served_of(self, on_disk: Mapping[int, Path]) -> list[int]:
        """Return the versions that serve requests for no particular one, or would: the best comes first."""
        wanted = self.labels.current().get(LATEST, {})
        if not wanted:
            return sorted(on_disk, reverse=True)
        found = sorted(wanted.keys() & on_disk.keys(), key=lambda number: (wanted[number], number), reverse=True)
        if on_disk and not found:
            raise self._unavailable(None, _UNREADABLE_SECONDS)
        return found

    def _load_latest(self, in_thread: InThread) -> Model:
        model = self._load_served(self._source.find(self.name), in_thread)
        self.evicted = None
        return model

    def _load_served(self, on_disk: Mapping[int, Path], in_thread: InThread = nullcontext) -> Model:
        """Load and serve the versions that the labels name, or else the highest that loads; return the latest."""
        if not on_disk:
            raise ModelNotFoundError(f"There is no model {self.name!r}.", model=self.name)
        self._wanted = self.labels.current().get(LATEST, {})
        if not self._wanted:
            model = self._load_highest(on_disk, in_thread)
            self._serve({model.version: model}, {})
            return model
        models, failures = self._serve_labelled(self._wanted.keys() & on_disk.keys(), (), in_thread)
        if not models:
            raise self._unloadable(failures)
        return models[max(models, key=lambda number: (self._wanted[number], number))]

    def _load_highest(self, on_disk: Mapping[int, Path], in_thread: InThread) -> Model:
        failures = []
        for version in sorted(on_disk, reverse=True):
            try:
                return self.get(version, in_thread)
            except ModelUnavailableError as error:
                failures.append(error)
        raise self._unloadable(failures)

    def _unloadable(self, failures: Sequence[ModelUnavailableError]) -> ModelUnavailableError:
        """Return the error of a model none of whose versions loads."""
        for failure in failures:
            if isinstance(failure, OutOfMemoryError):
                return failure
        waits = [failure.retry_after_seconds for failure in failures]
        return self._unavailable(None, min(waits, default=_UNREADABLE_SECONDS))

    def _load_version(self, version: int) -> Model:
        folder = self._folder(self._source.find(self.name), version)
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
        self._loaded[version], self._folders[version] = model, folder
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
        if failure is None or failure.fingerprint != self._source.fingerprint(folder):
            return 0.0
        return failure.backoff.seconds_left()

    def _fail(self, version: int, folder: Path, error: Exception) -> float:
        """Record a failed load; return the seconds until it is tried again."""
        fingerprint = self._source.fingerprint(folder)
        failure = self._failures.get(version)
        if failure is None or failure.fingerprint != fingerprint:
            failure = self._failures[version] = _Failure(fingerprint)
        failure.may_pass = isinstance(error, ConnectionError)
        failure.error = f"{type(error).__name__}; the log says why"
        failure.backoff.fail()
        return failure.backoff.seconds_left()

    def _unavailable(self, version: int | None, wait: float) -> ModelUnavailableError:
        what = self.name if version is None else f"{self.name}/{version}"
        return ModelUnavailableError(f"Model {what} could not be loaded; the server's log says why.", wait)

    def _status_of(self, version: int) -> VersionStatus:
        weight = self._shares.get(version)
        if version in self._loaded:
            return VersionStatus(self.name, version, State.AVAILABLE, weight=weight)
        if version in self._loading:
            return VersionStatus(self.name, version, State.LOADING, weight=weight)
        if version in self._failures:
            return VersionStatus(self.name, version, State.END, self._failures[version].error)
        return VersionStatus(self.name, version, State.START, weight=weight)


def _is_readable(folder: Path) -> bool:
    """Return whether the signatures of a folder's SavedModel can be read; one that is missing may be exported."""
    try:
        signatures_of_file(folder / export_record.SAVED_MODEL)
    except FileNotFoundError:
        return True
    except (ValueError, OSError):
        return False
    return True
