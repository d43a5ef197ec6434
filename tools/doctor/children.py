"""Child processes of the doctor: what is loaded there can neither slow nor crash the doctor itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.settings import APP_ROOT
from tools.doctor.plans import ANSWER_SECONDS


class ChildError(Exception):
    """What a child was to load can't be loaded; the message is one line."""


@dataclass(frozen=True)
class Loaded:
    """What was seen of a model, or of several in one process: times in seconds, memory in MB, None where unknown.

    ``seconds`` is from the import of the first function to the model's first answer, ``import_seconds`` its first
    part. ``note`` is what the model had to say against the example values.
    """

    seconds: float
    import_seconds: float
    resident_mb: float | None
    private_mb: float | None
    by_rows: bool
    note: str


def library_version() -> str:
    """Return the version that TensorFlow's C library tells of itself; raises ChildError."""
    return str(_run(["--library"])["version"])


def load(folders: Sequence[Path], engine: str) -> Loaded:
    """Load the SavedModels in these folders in one process and run each once; raises ChildError."""
    return Loaded(**_run(["--engine", engine, *map(os.fspath, folders)]))


def _run(arguments: Sequence[str]) -> dict[str, Any]:
    # The worker extends sys.path with the deployed packages; the child has to see the same. No model of the app
    # settings is to be loaded beside the one that is looked at.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "SERVING_PRELOAD": ""}
    command = [sys.executable, "-m", "tools.doctor.probe", *arguments]
    try:
        child = subprocess.run(
            command,
            cwd=APP_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"no answer within {ANSWER_SECONDS} s, after which Azure gives a request up") from None
    if child.returncode < 0:
        raise ChildError(f"the process that loaded it died of {signal.Signals(-child.returncode).name}")
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = child.stderr.strip().splitlines()
        raise ChildError(lines[-1] if lines else f"the process ended with code {child.returncode}") from None
    if "error" in answer:
        raise ChildError(answer["error"])
    return dict(answer)
