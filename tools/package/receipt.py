"""What a package was built from, kept beside it: building it again from the same would give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from serving.models.export_record import sha256
from tools.package import lock
from tools.package.lock import Pin
from tools.package.published import published
from tools.package.targets import Target


def of_inputs(project: Path, target: Target, pins: Sequence[Pin], *options: object) -> str:
    """Return a hash of all that a package is made of and proven with, the code that makes it included."""
    here = Path(__file__).parent
    code = _hash(here, sorted(path.name for path in here.glob("*.py")))
    files = _hash(project, published(project))
    runtime = _hash(lock.WORKER_RUNTIME.parent, [lock.WORKER_RUNTIME.name])
    return hashlib.sha256(repr((code, files, runtime, str(target), pins, options)).encode()).hexdigest()


def write(folder: Path, target: Target, inputs: str, lines: Sequence[str]) -> None:
    """Write the receipt of what was built into a folder, with the lines to print."""
    content = {"inputs": inputs, "package": _hash(folder, _built(folder, target)), "lines": lines}
    _receipt(folder, target).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def lines(folder: Path, target: Target, inputs: str) -> list[str]:
    """Return the lines of a package that is in a folder as it was built from the same; none otherwise."""
    try:
        content = json.loads(_receipt(folder, target).read_bytes())
        same = content["inputs"] == inputs and content["package"] == _hash(folder, _built(folder, target))
        return list(content["lines"]) if same else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _receipt(folder: Path, target: Target) -> Path:
    return folder / f"{target}.receipt.json"


def _built(folder: Path, target: Target) -> list[str]:
    unpacked = (path for path in (folder / str(target)).rglob("*") if path.is_file())
    return [f"{target}.zip", f"{target}.sbom.json", *sorted(path.relative_to(folder).as_posix() for path in unpacked)]


def _hash(folder: Path, names: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for name in names:
        whole.update(f"{name}\0{sha256(folder / name)}\n".encode())
    return whole.hexdigest()
