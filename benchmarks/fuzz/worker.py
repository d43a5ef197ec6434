"""A process that damages models and reads them: it may crash or hang, which the process that started it sees."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import shutil
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz import damage
from benchmarks.fuzz.originals import FORMATS, Format, feeds

_MEMORY_BYTES = 4 * 2**30

# What only damages bytes. What is written anew has right checksums, and is another model.
_SEEN_BY_CHECKSUMS = set(damage.BYTES)


@dataclass(frozen=True)
class Case:
    """One damaged copy of a model, which the seed and these say all of."""

    format: str
    number: int
    seed: int

    def make(self, originals: Path, folder: Path) -> bool:
        """Write the damaged copy; return whether a checksum, if there is one, must show the damage."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(originals / self.format, folder)
        chance = random.Random(f"{self.seed} {self.format} {self.number}")
        name, damages = chance.choice(list(FORMATS[self.format].damages.items()))
        chosen = chance.choice(damages)
        with contextlib.suppress(OSError, KeyError, ValueError, TypeError, RuntimeError):  # not possible on this file
            chosen(chance, folder / name)
        return chosen in _SEEN_BY_CHECKSUMS


def serve(connection: Connection, originals: Path, folder: Path) -> None:
    """Answer each case that arrives with what became of it, until None arrives."""
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    for descriptor in (1, 2):  # TensorFlow writes there whatever Python does
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    right = {name: _answer(FORMATS[name], originals / name) for name in FORMATS}
    gc.freeze()  # what stays need not be looked at again after each model
    connection.send("ready")
    while (case := connection.recv()) is not None:
        is_seen = case.make(originals, folder)
        connection.send(_outcome(FORMATS[case.format], folder, right[case.format], is_seen))


def _outcome(format_: Format, folder: Path, right: Any, is_seen: bool) -> tuple[str, str]:
    """Return what became of a damaged model, and the message."""
    from serving.engines.errors import TensorFlowError
    from serving.engines.graph import UnsafeGraphError
    from serving.models.export_record import SourceError

    refusals = (TensorFlowError, UnsafeGraphError, ValueError, TypeError) if format_.is_saved_model else (SourceError,)
    try:
        answer = _answer(format_, folder)
    except refusals as error:
        return ("refused" if "\n" not in str(error) else "traceback"), str(error)
    except MemoryError as error:
        return "refused", str(error)
    except _NotRunError:
        return _export(folder)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    if answer.shape == right.shape and np.allclose(answer, right, atol=1e-6, equal_nan=True):
        return "right", ""
    return ("wrong" if format_.has_checksum and is_seen else "changed"), ""


class _NotRunError(Exception):
    """A Keras model that was read does not run on the original's inputs."""


def _answer(format_: Format, folder: Path) -> Any:
    return _served(folder) if format_.is_saved_model else _loaded(folder)


def _loaded(folder: Path) -> Any:
    import keras

    from export.load import load_model
    from export.safety import Trust
    from serving.models.export_record import SourceError, find_sources

    keras.backend.clear_session()
    sources = find_sources(folder)
    if not sources:
        raise SourceError("no model")
    model, _ = load_model(sources, Trust())
    try:
        return np.asarray(model(feeds(model.inputs[0].shape[-1]), training=False))
    except Exception as error:
        raise _NotRunError from error


def _export(folder: Path) -> tuple[str, str]:
    """Export in this process: what is printed must be one line, or the model must be right."""
    from export.__main__ import main

    with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()):
        code = main([str(folder)])
    line = error.getvalue()
    if code == 0:
        return "changed", ""
    return ("refused" if line.count("\n") == 1 else "traceback"), line


def _served(folder: Path) -> Any:
    """Load as the app does (``serving/models/repository.py``), and run once."""
    from serving.engines.session import load_session
    from serving.models.export_record import ExportRecord, is_fresh

    if not is_fresh(folder):
        raise ValueError("it has changed since it was exported")
    session = load_session(folder, "auto", ExportRecord.read(folder).load_options())
    try:
        [(key, signature)] = session.signatures.items()
        [answer] = session.run(key, dict.fromkeys(signature.inputs, feeds(4))).values()
        return answer
    finally:
        session.close()
