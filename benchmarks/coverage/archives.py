"""Models that old versions of Keras wrote, with the answers of those."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coverage.case import Cell, Check, verdict
from benchmarks.figures import ROOT
from export.safety import Trust

_FOLDER = ROOT / "tests" / "fixtures" / "keras"


@dataclass(frozen=True)
class Archive:
    """A zip of folders, each with a model's files and ``answers.npz``."""

    path: Path

    def verdicts(self, library: str) -> dict[str, Cell]:
        """Return what becomes of each model."""
        cells: dict[str, Cell] = {}
        with zipfile.ZipFile(self.path) as archive, tempfile.TemporaryDirectory() as scratch:
            archive.extractall(scratch)
            for folder in sorted(path.parent for path in Path(scratch).glob("*/answers.npz")):
                answers = np.load(io.BytesIO((folder / "answers.npz").read_bytes()))
                # Theano adds in another order, and some of its functions are approximations.
                check = Check(_numbered(answers, "input"), _numbered(answers, "output"), 1e-4)
                cells[folder.name] = verdict(folder, Trust(), [check])
        return cells


def _numbered(answers: Any, kind: str) -> list[np.ndarray]:
    found = [answers[f"{kind}_{index}"] for index in range(len(answers.files)) if f"{kind}_{index}" in answers]
    # Theano computed some in float64; TensorFlow serves float32.
    return [array.astype(np.float32) if array.dtype == np.float64 else array for array in found]


def cases(keras: Any) -> dict[str, Archive]:
    """Return the archives by name; export reads them with tf_keras."""
    return {path.stem: Archive(path) for path in sorted(_FOLDER.glob("*.zip"))} if keras.__name__ == "tf_keras" else {}
