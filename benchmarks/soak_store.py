"""What ``python -m benchmarks.soak --store`` does to the store while clients send: all that can happen to one.

Versions of a model are uploaded, replaced, corrupted, half uploaded and deleted, and the store is stopped and started.
All versions answer alike, so any answer that differs is wrong.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from azure.storage.blob import BlobServiceClient

from tools.store import azurite, upload
from tools.store.__main__ import put_all

_CONTAINER = "models"
_EVERY_SECONDS = 5  # so that polling, at the 1 s that is set here, sees most of it
_DOWN_SECONDS = 10
_MOST_VERSIONS = 4


class DisturbedStore:
    """Azurite with models in it, one of which is changed all the time; ``done`` counts what was."""

    def __init__(self, folder: Path, models: Path, name: str) -> None:
        self.done: Counter[str] = Counter()
        self._folder = folder
        self._original = models / name / "1"
        self._process = ExitStack()
        self._endpoint = self._process.enter_context(azurite.running(folder))
        put_all(self._endpoint, models, _CONTAINER)
        self._client = BlobServiceClient.from_connection_string(self._endpoint.connection).get_container_client(
            _CONTAINER
        )
        self._name = name
        self._good = [1]
        self._highest = 1

    def settings(self, cache: Path) -> Mapping[str, str]:
        """Return the app settings that serve from it."""
        return {
            "SERVING_MODEL_PATH": self._endpoint.url(_CONTAINER),
            "SERVING_STORE_CONNECTION": self._endpoint.connection,
            "SERVING_CACHE_PATH": str(cache),
            "SERVING_STORE_CACHE_MB": "64",
            "SERVING_POLL_SECONDS": "1",
        }

    async def disturb(self, deadline: float) -> None:
        """Change one thing after another, in a seeded random order."""
        actions = [self._upload, self._upload, self._replace, self._corrupt, self._half, self._delete, self._stop]
        order = random.Random(0)
        while perf_counter() + _EVERY_SECONDS + _DOWN_SECONDS < deadline:
            await asyncio.sleep(_EVERY_SECONDS)
            await asyncio.to_thread(order.choice(actions))

    def close(self) -> None:
        """Stop the store."""
        self._client.close()
        self._process.close()

    def _upload(self) -> None:
        self._highest += 1
        self._put(self._highest)
        self._good.append(self._highest)
        self.done["uploaded"] += 1
        if len(self._good) > _MOST_VERSIONS:
            self._remove(self._good.pop(0))

    def _replace(self) -> None:
        self._put(self._good[-1], note=str(perf_counter()), replace=True)
        self.done["replaced"] += 1

    def _corrupt(self) -> None:
        """Change a byte of each file that an engine reads, in a version that would be the latest."""
        self._highest += 1
        at = f"{self._name}/{self._highest}/"
        self._put(self._highest)
        for name in ("saved_model.pb", "model.tflite"):
            content = bytearray((self._original / name).read_bytes())
            content[len(content) // 2] ^= 0xFF
            self._client.upload_blob(at + name, bytes(content), overwrite=True)
        self.done["corrupted"] += 1

    def _half(self) -> None:
        self._highest += 1
        self._client.upload_blob(f"{self._name}/{self._highest}/variables/variables.index", b"the rest never comes")
        self.done["half uploaded"] += 1

    def _delete(self) -> None:
        if len(self._good) > 1:
            self._remove(self._good.pop())
            self.done["deleted"] += 1

    def _stop(self) -> None:
        self._process.close()
        asyncio.run(asyncio.sleep(_DOWN_SECONDS))
        self._process.enter_context(azurite.running(self._folder, self._endpoint.port))
        self.done["store stopped and started"] += 1

    def _put(self, version: int, note: str = "", replace: bool = False) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / self._name / str(version)
            shutil.copytree(self._original, folder)
            (folder / "assets").mkdir(exist_ok=True)
            (folder / "assets" / "note.txt").write_text(note or "first", encoding="utf-8")
            upload.put(self._client, "", folder, replace)

    def _remove(self, version: int) -> None:
        for blob in list(self._client.list_blobs(name_starts_with=f"{self._name}/{version}/")):
            self._client.delete_blob(blob.name)


@contextmanager
def disturbed(models: Path, name: str) -> Iterator[tuple[DisturbedStore, Mapping[str, str]]]:
    """Run such a store; yield it and the app settings that serve from it."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        store = DisturbedStore(Path(folder), models, name)
        try:
            yield store, store.settings(Path(cache) / "cache")
        finally:
            store.close()
