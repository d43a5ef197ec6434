"""The models in a store: listed at intervals, downloaded into a cache when they are loaded or described.

A list is read in the background and the earlier one is used until then, so no request waits for the store but the first
ones and those for a model that is not loaded. While the store can't be read, the last list holds.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from serving.errors import ModelUnavailableError
from serving.models import private, versions
from serving.models.threads import DaemonThreads
from serving.models.versions import Fingerprint
from serving.settings import Settings
from serving.store import listing
from serving.store.cache import Cache
from serving.store.errors import ChangedError, RefusedError, StoreError
from serving.store.listing import File, Listing, Version
from serving.store_url import StoreUrl

if TYPE_CHECKING:
    from serving.store.blobs import Container

_logger = logging.getLogger("serving")

_DOWNLOADS = 8  # files at a time
_LIST_SECONDS = 60  # for a whole list
_FETCH_SECONDS = 200  # for a version; Azure's front end drops a request after 230
_RETRY_SECONDS = (5.0, 60.0)  # the least and the most that a store is left alone after a failure


class Store:
    """The models under a URL. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        assert isinstance(settings.model_path, StoreUrl)
        self._url = settings.model_path
        self._connection = settings.store_connection
        self._seconds = settings.poll_seconds or _RETRY_SECONDS[0]
        root = settings.cache_path / "store" / sha256(str(self._url).encode()).hexdigest()[:16]
        self._cache = Cache(root, settings.store_cache_mb * 2**20)
        self._labels = root.with_name(f"{root.name}-labels")
        self._listing: Listing | None = None
        self._label_tags: dict[str, str] = {}
        self._versions: dict[Path, Version] = {}  # by folder, those listed or listed before
        self._next = 0.0  # when to list again
        self._trouble = ""
        self._told: set[str] = set()
        self._reading = Lock()
        self._threads = DaemonThreads("store")
        self._opened: Container | None = None
        self._listed_files: Future[list[File]] | None = None

    def names(self) -> list[str]:
        """See Source."""
        return sorted(self._listed().versions)

    def find(self, name: str) -> Mapping[int, Path]:
        """See Source."""
        found = self._listed().versions.get(name, {})
        return {number: self._folder(version) for number, version in found.items()}

    def labels_root(self, name: str) -> Path:
        """See Source."""
        return self._labels if name in self._listed().labels else self._labels / "none"

    def fingerprint(self, folder: Path) -> Fingerprint:
        """See Source: another content has another folder."""
        return ((os.fspath(folder), 0, 0),)

    def trouble(self) -> str:
        """See Source."""
        return self._trouble

    def fetched(self, folder: Path) -> AbstractContextManager[None]:
        """See Source."""
        version = self._versions.get(folder)
        if version is None:
            raise ChangedError(f"{folder.parent.name} is no longer in the store")
        return self._cache.holding(version.digest, version.size, lambda scratch: self._download(version, scratch))

    def refresh(self) -> None:
        """See Source."""
        with self._reading:
            if monotonic() >= self._next:
                self._read()

    def _folder(self, version: Version) -> Path:
        return self._cache.root / version.digest / version.folder

    def _listed(self) -> Listing:
        """Return the last list; start to read the next one where it is due. Raises ModelUnavailableError."""
        if self._listing is None:
            self.refresh()
        elif monotonic() >= self._next and not self._reading.locked():
            Thread(target=self.refresh, name="list store", daemon=True).start()
        if self._listing is None:
            raise ModelUnavailableError(
                "The store of models can't be read; the server's log says why.", max(1.0, self._next - monotonic())
            )
        return self._listing

    def _read(self) -> None:
        start = monotonic()
        try:
            found = listing.read(self._files(), self._url.prefix)
            self._read_labels(found.labels)
        except (StoreError, RefusedError, OSError) as error:
            least, most = _RETRY_SECONDS
            self._next = monotonic() + min(max(least, getattr(error, "retry_after", 0.0)), most)
            self._report(str(error))
            return
        # Those of the list before, too: a load may have begun with it.
        lists = [self._listing, found] if self._listing else [found]
        listed = [one for each in lists for of_model in each.versions.values() for one in of_model.values()]
        self._versions = {self._folder(one): one for one in listed}
        self._listing, self._next = found, start + self._seconds
        self._report("")
        self._report_refused(found)

    def _report_refused(self, found: Listing) -> None:
        for version, reason in found.refused.items():
            if f"{version}: {reason}" not in self._told:
                self._told.add(f"{version}: {reason}")
                _logger.error("Model %s in the store is not served: %s", version, reason)

    def _read_labels(self, files: Mapping[str, File]) -> None:
        changed = {name: file for name, file in files.items() if self._label_tags.get(name) != file.etag}
        calls: list[Callable[[], None]] = []
        for name, file in changed.items():
            private.make(self._labels)
            path = self._labels / name / versions.LABELS
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            calls.append(partial(self._replace, file, path))
        self._all_within(_LIST_SECONDS, calls)
        self._label_tags = {name: file.etag for name, file in files.items()}

    def _replace(self, file: File, path: Path) -> None:
        scratch = path.with_name(f"{os.getpid()}.tmp")
        self._container().read(file, scratch)
        scratch.replace(path)

    def _report(self, trouble: str) -> None:
        """Log trouble with the store once, and its end."""
        if trouble and trouble != self._trouble:
            _logger.error("%s. Models that are loaded are served as before", trouble)
        elif self._trouble and not trouble:
            _logger.info("%s can be read again", self._url)
        self._trouble = trouble

    def _download(self, version: Version, scratch: Path) -> None:
        if self._trouble:  # known, so the request does not wait for it again
            raise StoreError(self._trouble)
        start = monotonic()
        calls: list[Callable[[], None]] = []
        for path, file in version.files.items():
            target = scratch / version.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            calls.append(partial(self._container().read, file, target))
        try:
            self._all_within(_FETCH_SECONDS, calls)
        except ChangedError:
            self._next = 0.0  # the list is out of date
            raise
        megabytes, seconds = version.size / 2**20, monotonic() - start
        _logger.info("Downloaded %s/%s: %.1f MB in %.2f s", version.name, version.folder, megabytes, seconds)

    def _container(self) -> Container:
        if self._opened is None:
            try:
                blobs = import_module("serving.store.blobs")
            except ImportError as error:
                raise StoreError(f"{error}; build with: make package WITH_STORE=1") from error
            self._opened = blobs.Container(self._url, self._connection)
            weakref.finalize(self, self._opened.client.close)
        return self._opened

    def _files(self) -> list[File]:
        """Return all files; raises StoreError where that takes too long, and waits for the same answer next time."""
        if self._listed_files is None or self._listed_files.done():
            self._listed_files = self._threads.submit(self._container().files)
        wait([self._listed_files], _LIST_SECONDS)
        if not self._listed_files.done():
            raise self._too_slow(_LIST_SECONDS)
        return self._listed_files.result()

    def _all_within(self, seconds: float, calls: list[Callable[[], None]]) -> None:
        """Make calls, a few at a time; raises the first error, or StoreError where they take longer."""
        waiting, stopped = iter(calls), Event()

        def work() -> None:
            for call in waiting:
                if stopped.is_set():
                    return
                call()

        lines = [self._threads.submit(work) for _ in range(min(_DOWNLOADS, len(calls)))]
        done, late = wait(lines, seconds, FIRST_EXCEPTION)
        stopped.set()
        for line in done:
            line.result()
        if late:
            raise self._too_slow(seconds)

    def _too_slow(self, seconds: float) -> StoreError:
        return StoreError(f"{self._url} takes longer than {seconds} s to answer; check the network")
