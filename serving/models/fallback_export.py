"""Exports a model that was deployed without its export: in a child process, into a cache folder.

The child process keeps Keras and ``tensorflow`` out of the process that serves, and limits itself
(``export/bounded.py``). The cache is needed because the app's own folder is read-only on Azure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from time import time

from serving.models import export_record, private
from serving.settings import APP_ROOT

_TIMEOUT_SECONDS = 200  # Azure's front end drops a request after 230
_SECONDS_OF_REMAINS = 2 * _TIMEOUT_SECONDS  # no export takes this long


class FallbackExportError(Exception):
    """The export failed; the message is one line for the operator."""


def export_into(cache: Path, sources: list[Path]) -> Path:
    """Return the cache's folder with the SavedModel of these sources; export it if there is none.

    Several worker processes may do so at once: each exports into a folder of its own, and the first to finish renames
    its folder to the final name. Raises FallbackExportError or NotPrivateError.
    """
    digest = sha256(repr(sorted(export_record.hashes(sources).items())).encode()).hexdigest()[:16]
    target = cache / digest
    private.make(cache)
    if export_record.is_fresh(target):
        return target
    _remove_remains(cache)
    scratch = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=cache))
    try:
        _run(sources[0].parent, scratch)
        try:
            scratch.rename(target)
        except OSError:
            if not export_record.is_fresh(target):  # otherwise another process was first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _remove_remains(cache: Path) -> None:
    """Remove what exports have left that were killed."""
    for folder in cache.glob("*-*"):
        if time() - folder.stat().st_mtime > _SECONDS_OF_REMAINS:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, output: Path) -> None:
    # The export limits its memory itself, and keeps app settings and keys from what reads the model.
    command = [sys.executable, "-m", "export", os.fspath(folder), "--output", os.fspath(output)]
    command += ["--engine", "tensorflow", "--minutes", str(_TIMEOUT_SECONDS / 60)]
    # The worker has added the deployed packages to sys.path; the child needs them too.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(command, cwd=APP_ROOT, env=environment, capture_output=True, text=True)
    if child.returncode:
        lines = child.stderr.strip().splitlines()
        raise FallbackExportError(lines[-1] if lines else f"the export ended with exit code {child.returncode}")
