"""Models that old versions of Keras wrote, with their own answers: each is right, or refused with a reason."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import load
from export.safety import Trust
from serving.models.export_record import SourceError
from tests.fixtures import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "tests" / "fixtures" / "keras"

# What a refusal may say.
REASONS = (
    "was written by Keras 0.x",
    "pads by 'same', which Theano did at another place",
    "merges by",
    "has no counterpart in later versions",
    "does not say which of its dimensions are the channels",
    "is a BatchNormalization of mode",
    "does not fit",
    "Shape mismatch",
    "which Theano computed otherwise",
    "which is not part of Keras",  # Highway, MaxoutDense and others that Keras 2.0 still read
)


def cases(path: Path, folder: Path) -> Iterator[tuple[str, list[Path], Any]]:
    """Unpack each case of an archive: its name, the model's files, and inputs and answers."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted({entry.partition("/")[0] for entry in archive.namelist() if "/" in entry}):
            archive.extractall(folder, [entry for entry in archive.namelist() if entry.startswith(f"{name}/")])
            answers = np.load(io.BytesIO(archive.read(f"{name}/answers.npz")))
            place = folder / name
            for files in ([place / "model.json", place / "model.h5"], [place / "whole.h5"]):
                if all(file.exists() for file in files):
                    yield f"{name}/{files[0].name}", files, answers


def numbered(answers: Any, kind: str) -> list[np.ndarray]:
    return [answers[f"{kind}_{index}"] for index in range(len(answers.files)) if f"{kind}_{index}" in answers]


def is_right(model: Any, answers: Any) -> bool:
    inputs = numbered(answers, "input")
    outputs = model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
    outputs = outputs if isinstance(outputs, list) else [outputs]
    pairs = zip(outputs, numbered(answers, "output"), strict=True)
    return all(got.shape == expected.shape and np.allclose(got, expected, 1e-3, 1e-5) for got, expected in pairs)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.zip")))
def test_each_model_is_right_or_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    right, wrong, refused, unexplained = 0, [], 0, []

    for case, files, answers in cases(FOLDER / name, tmp_path):
        try:
            model, _ = load.load_model(files, Trust())
        except SourceError as error:
            refused += 1
            unexplained += [] if any(reason in str(error) for reason in REASONS) else [f"{case}: {error}"]
        else:
            is_same = is_right(model, answers)
            right += is_same
            wrong += [] if is_same else [case]

    assert (wrong, unexplained) == ([], [])
    assert right > refused or "0.3.3" in name
