"""Runs ``probe`` in child processes, so that a model that crashes TensorFlow does not crash the doctor."""

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
    """A child process could not load what it was asked to; the message is one line."""


@dataclass(frozen=True)
class Loaded:
    """Measurements of one model, or of several in one process: times in seconds, memory in MB, None where unknown.

    ``seconds`` runs from the import of the first function to the first answer of the last model; ``import_seconds`` is
    the import alone. ``engine`` is that of the first model. ``note`` is the error with which the model refused all
    example values. ``inputs`` are those of the first model.
    """

    seconds: float
    import_seconds: float
    resident_mb: float | None
    private_mb: float | None
    engine: str
    by_rows: bool
    note: str
    inputs: tuple[str, ...] = ()


def library_version() -> str:
    """Return the version that TensorFlow's C library reports; raises ChildError."""
    return str(_run(["--library"])["version"])


def load(folders: Sequence[Path], engine: str) -> Loaded:
    """Load the SavedModels in these folders in one process and run each once; raises ChildError."""
    return Loaded(**_run(["--engine", engine, *map(os.fspath, folders)]))


def _run(arguments: Sequence[str]) -> dict[str, Any]:
    # The child imports from where this process does. SERVING_PRELOAD would load other models beside the measured one.
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
        raise ChildError(f"no answer within {ANSWER_SECONDS} s, which is Azure's limit") from None
    if child.returncode < 0:
        raise ChildError(f"the process that loaded it was killed by {signal.Signals(-child.returncode).name}")
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = child.stderr.strip().splitlines()
        raise ChildError(lines[-1] if lines else f"the process ended with code {child.returncode}") from None
    if "error" in answer:
        raise ChildError(answer["error"])
    return dict(answer)
