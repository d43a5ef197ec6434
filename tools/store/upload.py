"""``python -m tools.store.upload model/xor/1 [--store URL]``: export, prove and upload a version of a model.

``export.json`` is uploaded last: without it the app does not count the version, so half an upload does no harm. Also
uploads ``model/xor/labels.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient, ContentSettings

from serving.models import export_record, versions
from serving.preprocessing import FILE as PREPROCESSING
from serving.settings import APP_ROOT, ConfigurationError, Settings
from serving.store.blobs import Container
from serving.store.errors import StoreError
from serving.store_url import StoreUrl
from tools.doctor.children import ChildError, load


class UploadError(Exception):
    """A version can't be uploaded; the message is one line."""


def put(client: ContainerClient, prefix: str, source: Path, replace: bool = False) -> int:
    """Upload a version's folder, or a file of labels; return the bytes. Raises UploadError.

    A version that is replaced does not count until all of its files are there again.
    """
    if source.name == versions.LABELS:
        return _put_file(client, f"{prefix}{source.parent.name}/{source.name}", source)
    at = f"{prefix}{source.parent.name}/{source.name}/"
    there = {blob.name for blob in client.list_blobs(name_starts_with=at)}
    if there and not replace:
        raise UploadError(f"{at} exists; upload another version, or use --replace (REPLACE=1)")
    for name in sorted(there, key=lambda name: not name.endswith(f"/{export_record.EXPORT_RECORD}")):
        client.delete_blob(name)
    files = _files(source)
    return sum(_put_file(client, f"{at}{path.relative_to(source).as_posix()}", path) for path in files)


def _files(folder: Path) -> list[Path]:
    """Return what serving reads of a version, ``export.json`` last."""
    names = [*export_record.SAVED_MODEL_FILES, PREPROCESSING, export_record.EXPORT_RECORD]
    found = [path for name in names for path in [folder / name, *sorted((folder / name).rglob("*"))]]
    return [path for path in found if path.is_file()]


def _put_file(client: ContainerClient, name: str, path: Path) -> int:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
        file.seek(0)
        settings = ContentSettings(content_md5=bytearray(digest))
        client.upload_blob(name, file, overwrite=True, content_settings=settings, max_concurrency=4)
    return path.stat().st_size


def _prove(folder: Path) -> None:
    """Export a version unless its export matches its files, then load and run it; raises UploadError."""
    if not (folder.is_dir() and folder.name.isdecimal()):
        raise UploadError(f"{folder} is not a version's folder, such as model/xor/1")
    command = [sys.executable, "-m", "export", str(folder)]
    if not export_record.is_fresh(folder) and subprocess.run(command, cwd=APP_ROOT, check=False).returncode:
        raise UploadError(f"{folder} could not be exported")
    if not (folder / export_record.EXPORT_RECORD).exists():
        print(f"{folder} has no export.json; its SavedModel was made elsewhere and is uploaded as it is")
    try:
        seen = load([folder], "auto")
    except ChildError as error:
        raise UploadError(f"{folder} can't be loaded and run: {error}") from error
    print(f"Loaded and run with {seen.engine} in {seen.seconds:.2f} s.")


def main() -> int:
    """Upload; return 0, or 1 with a line that says what to do."""
    parser = argparse.ArgumentParser(prog="python -m tools.store.upload", description=__doc__)
    parser.add_argument("source", type=Path, help="a version's folder such as model/xor/1, or a labels.json")
    parser.add_argument("--store", help="the container's URL (default: SERVING_MODEL_PATH)")
    parser.add_argument("--replace", action="store_true", help="replace the version if it exists")
    options = parser.parse_args()
    source = options.source.resolve()
    try:
        settings = Settings.from_environment()
        url = StoreUrl.parse(options.store) if options.store else settings.model_path
        if not isinstance(url, StoreUrl):
            raise UploadError("name the container: STORE=https://ACCOUNT.blob.core.windows.net/CONTAINER")
        if source.name != versions.LABELS:
            _prove(source)
        size = put(Container(url, settings.store_connection).client, url.prefix, source, options.replace)
    except (UploadError, ConfigurationError, StoreError, AzureError, ValueError, OSError) as error:
        print(f"Nothing was uploaded, or not all: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"Uploaded {source.parent.name}/{source.name} to {url}: {size / 2**20:.1f} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
