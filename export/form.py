"""``python -m export.form``: in which form TensorFlow is to load a large model's weights, by measurement.

As constants of a frozen graph they need nothing but the graph, which is optimized once, at export; TensorFlow then
holds them several times over. As variables beside it they take less memory and, mostly, longer to a first answer.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from export import saved_model
from serving.engines.options import LoadOptions
from serving.engines.session import load_session
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.models.export_record import SourceError

# A frozen graph is worth up to so much more memory if it answers first in so much less time.
_LARGEST_GROWTH, _LEAST_GAIN = 1.6, 1.5
_ROUNDS = 2


@dataclass(frozen=True)
class _Start:
    """Seconds from loading to the first answer, and private memory in MB after it: 0 where the system does not say."""

    seconds: float
    megabytes: float

    def __str__(self) -> str:
        return f"{self.seconds:.2g} s and {self.megabytes:.0f} MB"


def freeze_if_better(tf: Any, model: Any, function: Any, folder: Path) -> str:
    """Replace a SavedModel with variables by a frozen one if that starts better; return what was measured.

    The result is empty where the SavedModel stays as it is, be it that it can't be frozen.
    """
    with tempfile.TemporaryDirectory(prefix="form-", dir=folder.parent) as scratch:
        frozen = Path(scratch) / "frozen"
        if saved_model.lacks_memory([function]):
            return ""
        if not saved_model.write_frozen(tf, {DEFAULT_SIGNATURE: function}, frozen):
            return ""
        if not _is_equal(model, frozen):
            return ""
        feeds = Path(scratch) / "feeds.npz"
        np.savez(feeds, **_row(folder))  # type: ignore[arg-type]
        starts = [(_start(folder, feeds, False), _start(frozen, feeds, True)) for _ in range(_ROUNDS)]
        with_variables, with_constants = (
            min(of_form, key=lambda start: start.seconds) for of_form in zip(*starts, strict=True)
        )
        if not _is_better(with_constants, with_variables):
            return ""
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in frozen.iterdir():
            path.replace(folder / path.name)
    return f"frozen: first answer after {with_constants} instead of {with_variables} with variables"


def _is_equal(model: Any, frozen: Path) -> bool:
    try:
        return not saved_model.verify(model, frozen, is_optimized=True).warning
    except SourceError:  # the form with variables has given Keras's answers
        return False


def _is_better(frozen: _Start, with_variables: _Start) -> bool:
    gain = with_variables.seconds / frozen.seconds
    return gain >= _LEAST_GAIN and frozen.megabytes <= _LARGEST_GROWTH * with_variables.megabytes


def _row(folder: Path) -> dict[str, np.ndarray]:
    session = load_session(folder, "tensorflow")
    try:
        run = partial(session.run, DEFAULT_SIGNATURE)
        return dict(saved_model.find_inputs(session.signatures[DEFAULT_SIGNATURE], run, 1)[1])
    finally:
        session.close()


def _start(folder: Path, feeds: Path, is_optimized: bool) -> _Start:
    command = [sys.executable, "-m", "export.form", str(folder), str(feeds), str(int(is_optimized))]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return _Start(**json.loads(printed))


def _main(folder: str, feeds: str, is_optimized: str) -> None:
    """Load a SavedModel, answer once, and print a _Start as JSON."""
    with np.load(feeds, allow_pickle=False) as arrays:
        row = dict(arrays)
    start = perf_counter()
    session = load_session(Path(folder), "tensorflow", LoadOptions(is_optimized == "1"))
    session.run(DEFAULT_SIGNATURE, row)
    json.dump({"seconds": perf_counter() - start, "megabytes": _private_megabytes()}, sys.stdout)


def _private_megabytes() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
