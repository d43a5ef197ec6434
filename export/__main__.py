"""``python -m export model/xor/1``: turn a Keras model's files into a SavedModel beside them.

Or, with ``--output``, a SavedModel made elsewhere into a faster copy.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from export import bounded, foreign, recipe
from export.safety import Trust
from serving.models import export_record
from serving.models.export_record import SourceError
from serving.settings import Settings

_KINDS = "an architecture (.json) with its weights (.h5), a .keras file, or a whole model as .h5"
_SUFFIXES = (".json", ".h5", ".hdf5", ".keras")


def main(arguments: list[str] | None = None) -> int:
    """Export one model in this process; return 0, or 1 with one line on standard error saying what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        _export(options)
    except Exception as error:
        if options.traceback and not isinstance(error, SourceError):
            raise
        print(f"Export failed: {_reason(error, options.memory)}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was changed.", file=sys.stderr)
        return 130
    return 0


def _reason(error: Exception, memory: float) -> str:
    """Return one line without its full stop."""
    if _is_lack_of_memory(error):
        return f"the model needs more than {memory:g} GB of memory. If you trust it, raise the limit with --memory"
    line = " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())  # Keras prints in bold
    if isinstance(error, SourceError):
        return line
    line = line[:300] or "no message"
    return f"{type(error).__name__}: {line}. For the whole error add --traceback"


def _is_lack_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        error = error.__cause__ or error.__context__
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a Keras model to a SavedModel, which is what the function app serves. "
        f"The folder must hold {_KINDS}, written by any version of Keras; or, with --output, a SavedModel made "
        "elsewhere, of which a faster copy is written.",
    )
    parser.add_argument("path", type=Path, help="the model's version folder, such as model/xor/1, or its file in there")
    parser.add_argument("--output", type=Path, help="where to write the SavedModel (default: into the same folder)")
    parser.add_argument(
        "--allow-lambda", action="store_true", help="run the code of Lambda layers; only for a model that you trust"
    )
    parser.add_argument(
        "--custom-objects",
        metavar="MODULE",
        help="a Python module or .py file that defines the model's custom objects, and for each Lambda layer a "
        "function with the layer's name; the module is executed",
    )
    _add_limits(parser)
    parser.add_argument(
        "--engine",
        choices=["auto", "tensorflow"],
        default="auto",
        help="auto: LiteRT if it gives the same answers faster, else TensorFlow; tensorflow: never LiteRT",
    )
    recipe.add_arguments(parser)
    parser.add_argument("--traceback", action="store_true", help="show the whole error of Keras or TensorFlow")
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory",
        metavar="GB",
        type=_positive,
        default=bounded.MEMORY_GB,
        help="memory limit of the export in GB (default: %(default)g)",
    )
    parser.add_argument(
        "--minutes",
        type=_positive,
        default=bounded.MINUTES,
        help="time limit of the export in minutes (default: %(default)g)",
    )


def _positive(text: str) -> float:
    with suppress(ValueError):
        value = float(text)
        if 0 < value < 1e6:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1,000,000")


def _folder(options: argparse.Namespace) -> Path:
    path: Path = options.path
    return path if path.suffix not in _SUFFIXES else path.parent


def _export(options: argparse.Namespace) -> None:
    folder = _folder(options)
    sources = _sources(folder, options.path, options.output)
    preprocessing = recipe.of(options)
    trust = Trust(options.allow_lambda, _custom_objects(options.custom_objects))
    # Keras and TensorFlow take seconds to import: not before the arguments have proved right.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in the app: serving/engines/tensorflow_library.py
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whichever backend trained the model: its files are the same
    of_keras = sources[0].name != export_record.SAVED_MODEL
    print(f"Exporting {' + '.join(map(str, sources if of_keras else sources[:1]))} ...", flush=True)
    from export import install, snapshot

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with snapshot.of(sources) as copies:
        model, reference, recorded = _load(copies, trust)
        folder = options.output or folder
        written = install.export(model, reference, recorded, folder, options.engine, _print_step)
    note = recipe.put(preprocessing, written.folder)
    print(f"Checked against {reference}: the largest difference is {written.difference:.2g}.")
    if written.engine:
        print(f"{written.engine}.")
    for line in filter(None, (note, *written.warnings)):
        print(line)
    print(f"Wrote {written.folder}: {', '.join(written.names)}. {_what_next(written.folder)}")


def _load(sources: list[Path], trust: Trust) -> tuple[Any, str, list[Path]]:
    """Return a model, what its export is checked against, and the sources that make an export stale by changing."""
    if sources[0].name != export_record.SAVED_MODEL:
        from export import load

        return *load.load_model(sources, trust), sources
    model = foreign.ForeignModel(importlib.import_module("tensorflow"), sources[0].parent)
    if model.left_out:
        print(f"WARNING: the copy has the signature serving_default only, not {', '.join(model.left_out)}")
    return model, "the SavedModel", []  # which is not beside its copy


def _what_next(folder: Path) -> str:
    root = Settings.from_environment().model_path
    if not isinstance(root, Path):
        return f"Upload it with: make upload MODEL={folder}"
    if folder.name.isdecimal() and folder.resolve().parent.parent == root.resolve():
        return "Serve it with: make start"
    return f"The app serves {root.name}/<name>/<version>/, such as {root.name}/wine/1/: move the folder there"


def _print_step(step: str) -> None:
    print(f"  {step} ...", flush=True)  # a large model takes minutes


def _sources(folder: Path, path: Path, output: Path | None) -> list[Path]:
    if path != folder and not path.is_file():
        raise SourceError(f"{path} is missing")
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder; expected a model's version folder, such as model/xor/1")
    sources = export_record.find_sources(folder)
    is_exported = (folder / export_record.EXPORT_RECORD).is_file()
    if not sources and not is_exported and (folder / export_record.SAVED_MODEL).is_file():
        if output is None or output.resolve() == folder.resolve():
            raise SourceError(
                f"{folder} has a SavedModel and no Keras files. The app serves it as it is; write an input that it "
                f"takes into {export_record.EXAMPLE} there. For a copy that starts and runs faster, frozen and "
                f"optimized, name another folder: --output {folder.parent / _next(folder.name)}"
            )
        _check_copy(folder.resolve(), output.resolve())
        return foreign.sources(folder)
    if not sources:
        raise SourceError(f"{folder} must hold {_KINDS}, and no other model; {_found(folder)}")
    if path not in (folder, *sources):
        raise SourceError(
            f"{folder} is exported from {sources[0].name}, not from {path.name}; keep one model's files in it"
        )
    return sources


def _check_copy(folder: Path, output: Path) -> None:
    """Refuse to write a copy where it would change a model that it is not a copy of, or the one that it is."""
    if output.is_relative_to(folder) or folder.is_relative_to(output):
        raise SourceError(f"{output} and {folder} lie in each other; name a folder outside, such as one beside it")
    is_exported = (output / export_record.EXPORT_RECORD).is_file()
    if export_record.find_sources(output) or (not is_exported and (output / export_record.SAVED_MODEL).exists()):
        raise SourceError(f"{output} has a model of its own, which the copy would replace; name another folder")


def _next(version: str) -> str:
    return str(int(version) + 1) if version.isdecimal() else f"{version}-optimized"


def _found(folder: Path) -> str:
    """Return which files a folder has that is no model's, and what to do about them."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    of_models = [name for name in names if name.endswith(_SUFFIXES)]
    if len(of_models) > 1:
        return (
            f"it has {', '.join(of_models)}. "
            "Keep the files of one model there and move the others to folders of their own"
        )
    return f"its files are: {', '.join(names[:9]) or 'none'}"


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
    return {name: value for name, value in names.items() if not name.startswith("_") and _may_be_of_a_model(value)}


def _may_be_of_a_model(value: Any) -> bool:
    """Leave out what a module only imports of Python, such as ``os.system``: a model could name that too."""
    package = str(getattr(value, "__module__", "")).partition(".")[0]
    return callable(value) and package not in sys.stdlib_module_names


def _run_in_child() -> int:
    options = _parser().parse_args()
    return bounded.run(sys.argv[1:], options.output or _folder(options), options.memory, options.minutes)


if __name__ == "__main__":
    sys.exit(_run_in_child())
