"""``python -m tools.inspect model/xor/1``: prints a model's inputs and outputs, and a request for each protocol.

It only reads files: neither TensorFlow nor Keras is loaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, Signature, TensorSpec, read_signatures, shape_text
from serving.models import example, export_record, versions
from serving.openapi import examples

_BASE = "http://localhost:7071/api"


def main(arguments: list[str] | None = None) -> int:
    """Print the contents of a model's version folder; return 0, or 1 after printing why they can't be read."""
    folder = _parser().parse_args(arguments).folder.resolve()
    try:
        content = (folder / export_record.SAVED_MODEL).read_bytes()
        signatures = example.described(folder, read_signatures(content, SERVE_TAG))
    except FileNotFoundError:
        print(f"{folder} has no {export_record.SAVED_MODEL}; run python -m export first", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"{folder / export_record.SAVED_MODEL} can't be read: {error}", file=sys.stderr)
        return 1
    print("\n".join(_description(folder, signatures)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.inspect",
        description="Print a model's versions, size, signatures and an example request for each protocol.",
    )
    parser.add_argument("folder", type=Path, help="the model's version folder, such as model/xor/1")
    return parser


def _description(folder: Path, signatures: dict[str, Signature]) -> list[str]:
    name = folder.parent.name
    available = ", ".join(map(str, sorted(versions.find(folder.parent.parent, name)))) or "none"
    lines = [f"Model {name}, version {folder.name} (available versions: {available})", *_files(folder)]
    for key, signature in signatures.items():
        lines += ["", f"Signature {key}"]
        lines += [_tensor("input", tensor_name, spec) for tensor_name, spec in signature.inputs.items()]
        lines += [_tensor("output", tensor_name, spec) for tensor_name, spec in signature.outputs.items()]
    if DEFAULT_SIGNATURE in signatures:
        lines += _requests(name, signatures[DEFAULT_SIGNATURE])
    return lines


def _files(folder: Path) -> list[str]:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    lines = [f"Size on disk: {size / 1e6:.2f} MB"]
    if export_record.find_sources(folder):
        is_known = export_record.is_fresh(folder) and not export_record.is_unrecorded(folder)
        lines.append(f"Export: {'matches its sources' if is_known else 'STALE; run python -m export'}")
    return lines


def _tensor(kind: str, name: str, spec: TensorSpec) -> str:
    return f"  {kind:6} {name:24} {spec.dtype_name:8} {shape_text(spec.shape)}"


def _requests(name: str, signature: Signature) -> list[str]:
    lines = []
    for one in examples.FORMATS:
        url = f"{_BASE}/{one.path.format(name=name, Name=name.capitalize())}"
        command = examples.command(one, signature, url)
        if command is not None:
            lines += ["", one.title, f"  {command}"]
    return lines


if __name__ == "__main__":
    sys.exit(main())
