"""A container of Azure Blob Storage: its files are listed and read. The one module that knows ``azure.storage``."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobServiceClient, ContainerClient, ExponentialRetry

from serving.store.errors import ChangedError, RefusedError, StoreError
from serving.store.listing import File
from serving.store_url import StoreUrl

# Of one attempt, of which there are three. A server that is slower than this within an answer is cut off by the store.
_TIMEOUTS = {"connection_timeout": 5, "read_timeout": 20}
_RETRIES = {"retry_total": 2, "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1}

_MOST_FILES = 20_000  # in all versions together; a page of a list has 5,000
_PART_BYTES = 8 * 2**20  # a larger file is read in parts of this size
_PARTS_AT_ONCE = 4

# What to do by status. A 403 comes from a missing role, and from a firewall.
_TODO = {
    401: "check SERVING_STORE_CONNECTION, or the app's managed identity (AZURE_CLIENT_ID if it is user-assigned)",
    403: 'give the app\'s identity the role "Storage Blob Data Reader" on the container, and its network access',
    404: "create the container, or correct SERVING_MODEL_PATH",
    429: "the storage account is busy",
    500: "the storage service has a problem",
    503: "the storage account is busy",
}


class Container:
    """A container; raises StoreError where it can't be read. Its network calls end after a time, or are abandoned."""

    def __init__(self, url: StoreUrl, connection: str = "") -> None:
        # Each request would be a line in the log, and its headers too.
        for name in ("azure.core", "azure.identity", "azure.storage"):
            logging.getLogger(name).setLevel(logging.ERROR)
        options = {**_TIMEOUTS, "retry_policy": ExponentialRetry(**_RETRIES)}
        options |= {"max_single_get_size": _PART_BYTES, "max_chunk_get_size": _PART_BYTES}
        self._prefix = url.prefix
        self._at = str(url)
        with self._errors():
            self.client = _client(url, connection, options)

    def files(self) -> list[File]:
        """Return all files under the prefix; raises RefusedError where these are too many."""
        found: list[File] = []
        with self._errors():
            for blob in self.client.list_blobs(name_starts_with=self._prefix or None):
                if len(found) == _MOST_FILES:
                    raise RefusedError(f"{self._at} has more than {_MOST_FILES} files; keep models apart from others")
                md5 = bytes(blob.content_settings.content_md5 or b"")
                found.append(File(blob.name, blob.size, blob.etag.strip('"'), md5))
        return found

    def read(self, file: File, path: Path) -> None:
        """Download a file as it was listed; raises ChangedError where it has changed since."""
        with self._errors(file.name), path.open("wb") as target:
            condition = {"etag": f'"{file.etag}"', "match_condition": MatchConditions.IfNotModified}
            blob = self.client.download_blob(file.name, max_concurrency=_PARTS_AT_ONCE, **condition)
            if blob.size != file.size:
                raise ChangedError(f"{file.name} has {blob.size} bytes; {file.size} were listed")
            blob.readinto(target)
        _check(file, path)

    @contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        """Raise StoreError for what Azure's libraries raise."""
        try:
            yield
        except ResourceModifiedError as error:
            raise ChangedError(f"{name} changed while it was read; it is read again") from error
        except RefusedError:
            raise
        except ResourceNotFoundError as error:
            raise ChangedError(f"{name} was deleted before it was read") if name else self._unreadable(error) from error
        except (AzureError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> StoreError:
        return StoreError(f"{self._at} can't be read: {_reason(error)}", _retry_after(error))


def _client(url: StoreUrl, connection: str, options: dict[str, Any]) -> ContainerClient:
    if connection:
        client = BlobServiceClient.from_connection_string(connection, **options).get_container_client(url.container)
        if client.url.partition("?")[0] != url.container_url:
            raise ValueError(f"SERVING_STORE_CONNECTION is for {client.url.partition('?')[0]}")
        return client
    from azure.identity import DefaultAzureCredential

    return ContainerClient.from_container_url(url.container_url, DefaultAzureCredential(**_TIMEOUTS), **options)


def _check(file: File, path: Path) -> None:
    """Compare a download with what was listed; raises StoreError."""
    size = path.stat().st_size
    if size != file.size:
        raise StoreError(f"{file.name} was cut off after {size} of {file.size} bytes")
    if file.md5:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
        if digest != file.md5:
            raise StoreError(f"{file.name} arrived with other bytes than were uploaded: its MD5 differs")


def _reason(error: Exception) -> str:
    """Return an error of Azure's in one line, and what to do."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None and isinstance(error, ClientAuthenticationError):
        status = 401
    what = f"{status} {getattr(error, 'error_code', None) or type(error).__name__}" if status else _first_line(error)
    return f"{what}; {_TODO.get(status or 0, 'check the name, the network and SERVING_STORE_CONNECTION')}"


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _retry_after(error: Exception) -> float:
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return float(text) if text.isdecimal() else 0.0
