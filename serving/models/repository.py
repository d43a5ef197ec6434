"""The app's models: each is loaded on its first request, kept, and replaced when a newer version appears."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread
from time import perf_counter

from serving import instance
from serving.engines.errors import EngineNotFoundError
from serving.engines.session import engine_of, load_session
from serving.engines.signature import Signature, signatures_of_file
from serving.errors import ModelNotFoundError, ModelUnavailableError, OutOfMemoryError, ServingError
from serving.models import example, export_record, fallback_export, memory, sources, versions
from serving.models.export_record import ExportRecord
from serving.models.labels import Key, Labels
from serving.models.model import Model
from serving.models.served_model import InThread, ServedModel
from serving.preprocessing import fitted
from serving.settings import ConfigurationError, Settings
from serving.status import VersionStatus

_logger = logging.getLogger("serving")

# At a time: more would need more memory, and take no less time together.
_loads = BoundedSemaphore(os.cpu_count() or 1)
_exports = BoundedSemaphore()


@cache
def shared() -> Repository:
    """Return the process's only repository, the app's module-level cache; raises ConfigurationError."""
    return Repository(Settings.from_environment())


def preload_in_background() -> None:
    """Start to load the models that ``SERVING_PRELOAD`` names, if any; a request waits until its model is loaded."""
    try:
        models = shared()
    except ConfigurationError:  # the first request reports it
        return
    if models.settings.preload:
        Thread(target=models.preload, name="preload", daemon=True).start()


class Repository:
    """The models under a model path, by name. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = sources.of(settings)
        self._models: dict[str, ServedModel] = {}
        self._lock = Lock()
        self._room = Lock()
        self._reserved = 0  # bytes, for models that are loading
        self._closed = Event()
        self._default_name = ""  # as last logged

    def loaded(self, name: str, version: int | None = None, key: Key | None = None) -> Model | None:
        """Return a model's version, by default the latest for a key, if it is loaded. Does not lock."""
        model = self._models.get(name)
        return model.loaded(version, key) if model else None

    def get(self, name: str, version: int | None = None) -> Model:
        """Return a model's version, by default the latest that loads; load it first if necessary.

        Raises ModelNotFoundError if it doesn't exist. Raises ModelUnavailableError if it can't be loaded: the log has
        the cause, and a later request tries again.
        """
        return self.start(name, version).result()

    def start(self, name: str, version: int | None = None, in_thread: InThread = nullcontext) -> Future[Model]:
        """Return what ``get`` does, once it is there; ``in_thread`` is entered in the thread that loads it."""
        return self._served(name).start(version, in_thread)

    def evicted(self, name: str) -> int | None:
        """Return the version of a model that is loaded again by its next request, if there is such a version."""
        model = self._models.get(name)
        return model.evicted if model else None

    def check_loadable(self, name: str, version: int | None = None) -> None:
        """Raise what would keep a model's version, the latest by default, from being loaded, as far as that is known.

        Raises ModelNotFoundError or ModelUnavailableError. Loads nothing.
        """
        self._looked_at(name).check_loadable(version)

    def version_of(self, name: str, label: str) -> int | None:
        """Return the version that has a label, None if several share its requests.

        Raises ModelNotFoundError for an unknown label, ModelUnavailableError where the labels are invalid.
        """
        labels = self._looked_at(name).labels.current()
        if label not in labels:
            known = ", ".join(sorted(labels)) or "none"
            raise ModelNotFoundError(f"Model {name} has no label {label[:40]!r}; it has: {known}.", model=name)
        version, *others = labels[label]
        return None if others else version

    def default_name(self) -> str:
        """Return the default model's name, and log why it was chosen; raises ModelNotFoundError if there is none."""
        names = self.names()
        name = self.settings.default_model or next(iter(names), "")
        if not name:
            raise ModelNotFoundError("The app has no models.")
        if name != self._default_name:
            self._default_name = name
            _logger.info("The default model is %s, %s", name, _why_default(self.settings, names))
        return name

    def preload(self) -> None:
        """Load and warm up the models that the settings name, or the default model; log those that fail."""
        try:
            names = self.settings.preload or (self.default_name(),)
        except ServingError as error:
            _logger.error("No model could be preloaded: %s", error)
            return
        for name in names:
            try:
                self.get(name).warm_up()
            except ServingError as error:
                _logger.error("Model %s could not be preloaded: %s", name, error)

    def names(self) -> list[str]:
        """Return the names of all models on disk, whether or not they are loaded."""
        return self.source.names()

    def signatures(self, name: str, version: int | None = None) -> tuple[int, Mapping[str, Signature]]:
        """Return a model's version, the latest by default, and its signatures; from its file if it is not loaded.

        Raises ModelNotFoundError if there is no such model, ValueError or OSError if the file can't be read.
        """
        model = self.loaded(name, version)
        if model is not None:
            return model.version, model.signatures
        number, folder = self._looked_at(name).on_disk(version)
        with self.source.fetched(folder):
            signatures = signatures_of_file(folder / export_record.SAVED_MODEL)
            return number, fitted.of(folder, signatures).described(example.described(folder, signatures))

    def describe(self, name: str, version: int | None = None) -> tuple[int, str, Mapping[str, Signature]]:
        """Return a model's version, the latest by default, the engine that serves it, and its signatures.

        Raises ModelNotFoundError, or ModelUnavailableError where its files don't say that. Loads nothing.
        """
        model = self.loaded(name, version)
        if model is not None:
            return model.version, model.engine, model.signatures
        try:
            number, signatures = self.signatures(name, version)
            _, folder = self._looked_at(name).on_disk(number)
            with self.source.fetched(folder):
                record = ExportRecord.read(folder)
            return number, engine_of(self.settings.engine, record.load_options()), signatures
        except (ValueError, OSError, EngineNotFoundError) as error:
            _logger.warning("The signatures of model %s can't be read: %s", name, error)
            raise ModelUnavailableError(
                f"Model {name} is not loaded, and its files don't state its inputs; the server's log says why."
            ) from error

    def all_signatures(self) -> dict[str, tuple[int, Mapping[str, Signature]]]:
        """Return the ``signatures`` of every model, by name; log and leave out those that can't be read."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.signatures(name)
            except (ValueError, OSError, ServingError) as error:
                _logger.warning("The signatures of model %s can't be read: %s", name, error)
        return found

    def status(self, name: str) -> list[VersionStatus]:
        """Return the state of every version of a model, the highest first; raises ModelNotFoundError."""
        found = self._looked_at(name).status()
        if not found:
            raise ModelNotFoundError(f"There is no model {name!r}.", model=name)
        return found

    def close(self) -> None:
        """Stop the search for newer versions."""
        self._closed.set()

    def _looked_at(self, name: str) -> ServedModel:
        """Return a model to look at, which does not put it into use."""
        return self._models.get(name) or self._new_model(name)

    def _served(self, name: str) -> ServedModel:
        model = self._models.get(name)
        if model is not None:
            return model
        if not self.source.find(name):
            raise ModelNotFoundError(f"There is no model {name!r}.", model=name)
        with self._lock:
            if not self._models and self.settings.poll_seconds:
                self._start_polling()
            return self._models.setdefault(name, self._new_model(name))

    def _new_model(self, name: str) -> ServedModel:
        labels = Labels(name, lambda: versions.labels(self.source.labels_root(name), name))
        return ServedModel(name, self.source, self._load, labels)

    def _load(self, name: str, folder: Path) -> Model:
        with ExitStack() as files:
            files.enter_context(self.source.fetched(folder))
            model = self._read(name, folder)
            weakref.finalize(model, files.pop_all().close)  # its engine may read them as long as it lives
        return model

    def _read(self, name: str, folder: Path) -> Model:
        start = perf_counter()
        saved_model = _saved_model(folder, name, self.settings.cache_path)
        record = ExportRecord.read(saved_model)
        options = record.load_options(name in self.settings.any_op)
        size = memory.needed_bytes(saved_model, engine_of(self.settings.engine, options))
        with _loads, self._room_for(f"{name}/{folder.name}", size):
            session = load_session(saved_model, self.settings.engine, options)
        if not session.signatures:
            raise ValueError(f"{saved_model} has no signature that can be served")
        batch_rows = self.settings.batch_rows.of(name, record.independent_rows)
        model = Model(
            name,
            int(folder.name),
            session,
            batch_rows,
            any_shape=not record.sources,
            run_seconds=self.settings.run_seconds or None,
            size=size,
            preprocessing=fitted.of(folder, session.signatures),
            signatures=example.described(folder, session.signatures),
        )
        _logger.info("Loaded model %s with %s in %.0f ms", model, session.engine, (perf_counter() - start) * 1e3)
        return model

    @contextmanager
    def _room_for(self, model: str, size: int) -> Iterator[None]:
        """Reserve memory for a model that loads; raises OutOfMemoryError where there is too little."""
        with self._room:
            self._make_room(model, size)
            self._reserved += size
        try:
            yield
        finally:
            with self._room:
                self._reserved -= size

    def _make_room(self, model: str, size: int) -> None:
        in_use = list(self._models.values())
        held = sum(one.size for served in in_use for one in served.all_loaded())
        evictable = [(one, served) for served in in_use for one in served.evictable(model)]
        left = min(self.settings.memory_mb * 2**20 - held, instance.free_bytes()) - self._reserved
        most = left + sum(one.size for one, _ in evictable)
        if size > most:
            raise OutOfMemoryError(
                f"Model {model} needs about {size / 2**20:.0f} MB of memory; there are {most / 2**20:.0f} MB."
            )
        for one, served in sorted(evictable, key=lambda pair: pair[0].last_used):
            if size <= left:
                return
            _logger.info("Model %s is no longer loaded: model %s needs its memory", one, model)
            served.evict(one)
            left += one.size

    def _start_polling(self) -> None:
        # A weak reference, so that the thread does not keep an unused repository and its models alive.
        arguments = (weakref.ref(self), self._closed, self.settings.poll_seconds)
        Thread(target=_poll, args=arguments, name="poll-versions", daemon=True).start()

    def upgrade(self) -> None:
        """Look for newer and for deleted versions of every model in use."""
        self.source.refresh()
        for model in list(self._models.values()):
            model.upgrade()


def _why_default(settings: Settings, names: list[str]) -> str:
    if settings.default_model:
        return "set by SERVING_DEFAULT_MODEL"
    if len(names) == 1:
        return "the only model"
    return f"the first by name of {', '.join(names)}; set SERVING_DEFAULT_MODEL to choose another"


def _poll(repository: weakref.ref[Repository], closed: Event, seconds: float) -> None:
    while not closed.wait(seconds):
        alive = repository()
        if alive is None:
            return
        try:
            alive.upgrade()
        except Exception:
            _logger.exception("The search for newer versions failed; the next one is in %s s", seconds)
        del alive


def _saved_model(folder: Path, name: str, cache_path: Path) -> Path:
    """Return a folder with a fresh SavedModel: the version's own, or an export of its sources in the cache."""
    if export_record.is_fresh(folder):
        if export_record.is_unrecorded(folder):
            _logger.warning(
                "Model %s is served from a SavedModel without export.json; it may not have been exported from the "
                "Keras files beside it. Run `python -m export %s`, or remove the files that are not served.",
                *(name, folder),
            )
        return folder
    sources = export_record.find_sources(folder)
    if not sources and (folder / export_record.SAVED_MODEL).is_file():
        raise ValueError(
            f"{folder / export_record.SAVED_MODEL} has changed since it was exported; copy the export again"
        )
    for other in export_record.OTHER_FORMS:
        if not sources and (folder / other).is_file():
            raise ValueError(
                f"{folder / other} is not read; docs/tf_serving.md says how to make a saved_model.pb of it"
            )
    if not sources:
        raise FileNotFoundError(f"{folder} has neither a SavedModel nor Keras files")
    _logger.warning(
        "Model %s has no export that matches its files, so it is exported now. This takes seconds at every cold start. "
        "To avoid this, run `python -m export %s` and deploy the files that it writes.",
        *(name, folder),
    )
    with _exports:
        return fallback_export.export_into(cache_path / name, sources)
