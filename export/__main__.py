"""``python -m export model/xor/1``: turn a Keras model's files into a SavedModel beside them."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

from export.safety import Trust
from serving.models import export_record
from serving.models.export_record import SourceError

_KINDS = "an architecture (.json) with its weights (.h5), a .keras file, or a whole model as .h5"
_SUFFIXES = (".json", ".h5", ".hdf5", ".keras")


def main(arguments: list[str] | None = None) -> int:
    """Export one model; return the exit code: 0, or 1 with one line on standard error saying what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        _export(options)
    except SourceError as error:
        print(f"Export failed: {error}.", file=sys.stderr)
        return 1
    except Exception as error:  # of Keras's or TensorFlow's
        if options.traceback:
            raise
        text = re.sub(r"\x1b\[\d+m", "", str(error))  # Keras prints in bold
        line = " ".join(text.split())[:300] or "no message"
        print(f"Export failed: {type(error).__name__}: {line}. For the whole error add --traceback.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was changed.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a Keras model to a SavedModel, which is what the function app serves. "
        f"The folder holds {_KINDS}; written by Keras 1, 2 or 3.",
    )
    parser.add_argument("path", type=Path, help="the model's version folder, such as model/xor/1, or its file in there")
    parser.add_argument("--output", type=Path, help="where to write the SavedModel (default: into the same folder)")
    parser.add_argument(
        "--allow-lambda", action="store_true", help="run the code of Lambda layers; only for a model that you trust"
    )
    parser.add_argument(
        "--custom-objects",
        metavar="MODULE",
        help="the Python module, or its file, that defines the model's own layers and functions; its code runs",
    )
    parser.add_argument(
        "--engine",
        choices=["auto", "tensorflow"],
        default="auto",
        help="tensorflow leaves LiteRT out, which is otherwise used where it gives the same answers faster",
    )
    parser.add_argument("--traceback", action="store_true", help="show the whole error of Keras or TensorFlow")
    return parser


def _export(options: argparse.Namespace) -> None:
    folder = options.path if options.path.suffix not in _SUFFIXES else options.path.parent
    sources = _sources(folder, options.path)
    trust = Trust(options.allow_lambda, _custom_objects(options.custom_objects))
    # Keras and TensorFlow take seconds to import: not before the arguments have proved right.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whichever backend trained the model: its files are the same
    print(f"Exporting {' + '.join(str(path) for path in sources)} ...", flush=True)
    from export import install, load

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    model, keras_version = load.load_model(sources, trust)
    written = install.export(model, keras_version, sources, options.output or folder, options.engine)
    print(f"Checked against {keras_version}: the largest difference is {written.difference:.2g}.")
    if written.engine:
        print(f"{written.engine}.")
    print(f"Wrote {written.folder}: {', '.join(written.names)}. Serve it with: make start")


def _sources(folder: Path, path: Path) -> list[Path]:
    if path != folder and not path.is_file():
        raise SourceError(f"{path} is missing")
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; expected a model's version folder, such as model/xor/1")
    sources = export_record.find_sources(folder)
    if not sources:
        found = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)) or "none"
        raise SourceError(f"{folder} must hold {_KINDS}, and no other model; its model files are: {found}")
    if path not in (folder, *sources):
        raise SourceError(f"{path} is not what {folder} is served from, which is {sources[0].name}")
    return sources


def _custom_objects(module: str | None) -> dict[str, Any]:
    """Import a module by name or by the path of its file, and return what it defines."""
    if not module:
        return {}
    try:
        if module.endswith(".py"):
            names = runpy.run_path(module, run_name=Path(module).stem)
        else:
            names = vars(importlib.import_module(module))
    except Exception as error:
        raise SourceError(f"--custom-objects {module} can't be imported: {error}") from error
    return {name: value for name, value in names.items() if callable(value) and not name.startswith("_")}


if __name__ == "__main__":
    sys.exit(main())
