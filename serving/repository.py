"""The models: finds them under ``model/<name>/<version>/``, loads each once and keeps it.

The folder layout is TensorFlow Serving's; versions are whole numbers and the highest is served.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from threading import Lock
from time import perf_counter

from serving import engine, fallback_export, provenance
from serving.errors import ModelUnavailableError
from serving.model import Model
from serving.settings import Settings

_logger = logging.getLogger("serving")


@cache
def shared() -> Repository:
    """Return the one repository of the process: the app's module-level cache. Raises ConfigurationError."""
    return Repository(Settings.from_environment())


class Repository:
    """The loaded models of one model folder, by name. Safe from many threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._models: dict[str, Model] = {}
        self._loading: dict[str, Future[Model]] = {}
        self._lock = Lock()

    def loaded(self, name: str) -> Model | None:
        """Return a model that is already loaded: a dict look-up, no lock."""
        return self._models.get(name)

    def load(self, name: str) -> Model:
        """Load a model, or wait for the thread that is at it: requests that arrive together load it once.

        A load that fails fails for all who waited for it, and the next call tries again. Raises
        ModelUnavailableError, whose cause is in the log.
        """
        with self._lock:
            if name in self._models:
                return self._models[name]
            future = self._loading.get(name)
            mine = future is None
            if future is None:
                future = self._loading[name] = Future()
        if mine:
            self._load_into(future, name)
        return future.result()

    def _load_into(self, future: Future[Model], name: str) -> None:
        try:
            model = self._load(name)
        except BaseException as error:
            _logger.exception("Model %s could not be loaded from %s", name, self.settings.model_path / name)
            with self._lock:
                del self._loading[name]
            unavailable = ModelUnavailableError(f"Model {name} could not be loaded; the server's log says why.")
            unavailable.__cause__ = error
            future.set_exception(unavailable)
        else:
            with self._lock:
                self._models[name] = model
                del self._loading[name]
            future.set_result(model)

    def _load(self, name: str) -> Model:
        start = perf_counter()
        folder = self._latest_version(name)
        session = engine.load_session(_saved_model(folder, name, self.settings.cache_path), self.settings.engine)
        model = Model(name, int(folder.name), session)
        _logger.info("Loaded model %s in %.0f ms", model, (perf_counter() - start) * 1e3)
        return model

    def _latest_version(self, name: str) -> Path:
        versions = [folder for folder in (self.settings.model_path / name).glob("*") if folder.name.isdecimal()]
        if not versions:
            raise FileNotFoundError(
                f"No version of model {name!r} lies under {self.settings.model_path}; expected {name}/1/ or the like"
            )
        return max(versions, key=lambda folder: int(folder.name))


def _saved_model(folder: Path, name: str, cache_path: Path) -> Path:
    """Return the folder with a fresh SavedModel: the version's own, or one exported from its sources into a cache."""
    if provenance.is_fresh(folder):
        return folder
    sources = provenance.find_sources(folder)
    if not sources:
        raise FileNotFoundError(f"{folder} holds neither a SavedModel nor files to export one from")
    _logger.warning(
        "Model %s has no export that matches its files, so one is made now, which takes seconds at every cold start. "
        "To avoid it run `python -m serving.export %s` and deploy what it writes.",
        *(name, folder),
    )
    return fallback_export.export_into(cache_path / name, sources)
