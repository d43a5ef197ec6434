"""Export a loaded Keras model and put the result in place, whole or not at all."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from export import bounded, form, independence, litert, saved_model
from serving.engines.errors import TensorFlowError
from serving.engines.session import load_session
from serving.engines.signature import DEFAULT_SIGNATURE
from serving.models import example, export_record
from serving.models.export_record import ExportRecord

_SECONDS_OF_ANY_EXPORT = 24 * 60 * 60


@dataclass(frozen=True)
class Written:
    """What an export wrote, its largest difference to the Keras model, which engine serves it, and why.

    ``warnings`` are for the model's owner.
    """

    folder: Path
    names: list[str]
    difference: float
    engine: str
    warnings: Sequence[str] = ()


def export(
    model: Any,
    keras_version: str,
    sources: list[Path],
    folder: Path,
    engine: str = "auto",
    progress: Callable[[str], object] = lambda step: None,
) -> Written:
    """Export a Keras model into a folder, replacing an earlier export there once the new one has proved right.

    ``engine`` may be ``tensorflow`` to leave LiteRT out. ``progress`` is called with each step as it begins.

    Raises SourceError, with the earlier export untouched, where the SavedModel disagrees with the Keras model.
    """
    tf = importlib.import_module("tensorflow")
    hashes = export_record.hashes(sources)
    folder.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that it can be moved there by renaming.
    remove_remains(folder)
    with tempfile.TemporaryDirectory(prefix=bounded.scratch_prefix(os.getpid()), dir=folder) as scratch:
        fresh = Path(scratch) / "new"
        progress("writing the SavedModel")
        trace = partial(saved_model.trace, tf, model)
        function = trace(None)
        is_optimized = saved_model.write(tf, model, function, fresh)
        progress("comparing its answers with the model's")
        verified = saved_model.verify(model, fresh, is_optimized)
        independent = verified.independent_rows and independence.is_proven(tf, function)
        record = ExportRecord(hashes, keras_version, tf.__version__, independent, is_optimized)
        if engine != "tensorflow":
            progress("comparing LiteRT's answers and speed with TensorFlow's")
            decision = litert.decide(tf, trace, fresh, record.load_options(), independent)
            record = replace(record, engine=decision.reason, litert=decision.proof)
        if (
            record.litert is None
            and not is_optimized
            and (measured := form.freeze_if_better(tf, model, function, fresh))
        ):
            record = replace(record, engine="; ".join(filter(None, [record.engine, measured])), is_optimized=True)
        warnings = [verified.warning, _put_example(verified.example, fresh, folder, record)]
        record.write(fresh)
        names = _replace(fresh, folder, Path(scratch) / "old")
    return Written(folder, names, verified.difference, record.engine, [*filter(None, warnings)])


def remove_remains(folder: Path) -> None:
    """Remove what exports have left whose process and its parent were both killed."""
    for remains in folder.glob(".export-*"):
        if time.time() - remains.stat().st_mtime > _SECONDS_OF_ANY_EXPORT:
            shutil.rmtree(remains, ignore_errors=True)


def _replace(fresh: Path, folder: Path, old: Path) -> list[str]:
    """Move the export in ``fresh`` into the folder and what it replaces into ``old``; on any failure move all back."""
    names = [name for name in export_record.EXPORTED if _is_worth_keeping(fresh / name)]
    record = folder / export_record.EXPORT_RECORD
    previous_record = record.read_bytes() if record.exists() else None
    moved: list[tuple[Path, Path]] = []
    old.mkdir()
    try:
        # Several files can't be replaced in one step. While they are, a record that matches no source tells a
        # reader, also one that comes after a power failure, to take none of them.
        export_record.mark_incomplete(folder)
        for name in export_record.SAVED_MODEL_FILES:
            if (folder / name).exists():
                _move(folder / name, old / name, moved)
            if name in names:
                _move(fresh / name, folder / name, moved)
        (fresh / record.name).replace(record)
    except BaseException:
        for source, target in reversed(moved):
            target.replace(source)
        if previous_record is None:
            record.unlink(missing_ok=True)
        else:
            record.write_bytes(previous_record)
        raise
    return names


def _move(source: Path, target: Path, moved: list[tuple[Path, Path]]) -> None:
    source.replace(target)
    moved.append((source, target))


def _put_example(found: Mapping[str, np.ndarray] | None, fresh: Path, folder: Path, record: ExportRecord) -> str:
    """Write the example of an export, or keep the one in the folder if the model takes it; return a warning or nothing.

    It may have been written by hand.
    """
    if (folder / export_record.EXAMPLE).is_file():
        try:
            _run_example(fresh, folder, record)
            shutil.copyfile(folder / export_record.EXAMPLE, fresh / export_record.EXAMPLE)
            return ""
        except (ValueError, TensorFlowError) as error:
            replaced = f"WARNING: the model does not take {export_record.EXAMPLE}, which was replaced: {error}"
    else:
        replaced = ""
    if found is None:
        todo = f"Write an input that it takes into {folder / export_record.EXAMPLE}"
        return f"WARNING: no example was found: the model takes none of the small inputs that were tried. {todo}"
    example.write(fresh, found)
    return replaced


def _run_example(fresh: Path, folder: Path, record: ExportRecord) -> None:
    """Run a folder's example in a fresh export; raises ValueError, or TensorFlowError where the model rejects it."""
    session = load_session(fresh, "tensorflow", replace(record.load_options(), litert=None))
    try:
        inputs = session.signatures[DEFAULT_SIGNATURE].inputs
        examples = example.read(folder, inputs) or {}
        session.run(DEFAULT_SIGNATURE, {name: example.array(one, inputs[name]) for name, one in examples.items()})
    finally:
        session.close()


def _is_worth_keeping(path: Path) -> bool:
    # TensorFlow makes empty folders for variables and assets that a model has not; git and zip drop them anyway.
    return any(path.iterdir()) if path.is_dir() else path.exists()
