"""The package's ``.python_packages``: the libraries of a target, without what serving never reads.

Of LiteRT and TensorFlow only the shared libraries of their C APIs are kept, TensorFlow's without symbol tables and
prelinked. Importing ``tensorflow`` from it raises ImportError.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec
from uv import find_uv_bin

from tools.package import lock
from tools.package.errors import PackageError
from tools.package.lock import Pin
from tools.package.targets import Target

FOLDER = Path(".python_packages/lib/site-packages")  # where Azure's worker looks for an app's packages

LITERT = "ai-edge-litert"
TENSORFLOW = ("tensorflow", "tensorflow-cpu")  # of which a target has one
LIBRARIES = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
_INIT = "tensorflow/__init__.py"
# What is kept of libraries that are needed in part.
_KEPT = {
    LITERT: frozenset({"ai_edge_litert/libLiteRt.so"}),
    **dict.fromkeys(
        TENSORFLOW, frozenset({*LIBRARIES, _INIT, "tensorflow/include/LICENSE", "tensorflow/THIRD_PARTY_NOTICES.txt"})
    ),
}
_INIT_TEXT = '''"""Only TensorFlow's shared libraries are here, for its C API."""

raise ImportError(
    "This deployment package holds TensorFlow's shared libraries, not its Python modules. "
    "Publish with a remote build, or add the tensorflow wheel to .python_packages."
)
'''

# What other libraries hold for developers: commands, tests, headers, static libraries, and type stubs.
_LEFT_OUT = GitIgnoreSpec.from_lines(
    [
        *("/bin/", "tests/", "include/", "_examples/", "/numpy/f2py/", "/numpy/_pyinstaller/"),
        *("*.a", "*.h", "*.pxd", "*.pyi", "*.pyx"),
    ]
)


@dataclass(frozen=True)
class Part:
    """A library in the package: its pin, its metadata, what its wheel unpacks to, and the files that are kept."""

    pin: Pin
    metadata: str
    unpacked_bytes: int
    files: tuple[str, ...]


def install(pins: list[Pin], folder: Path, target: Target) -> None:
    """Have uv install wheels for a target into a folder, checking their hashes; raises PackageError."""
    # Copied, since a link would let what is changed here change uv's cache.
    command = [find_uv_bin(), "pip", "install", "--requirements", "-", "--target", str(folder), "--link-mode", "copy"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--python", sys.executable]
    command += ["--python-version", target.python, "--python-platform", target.platform]
    if subprocess.run(command, input=lock.requirements(pins), text=True, check=False).returncode:
        raise PackageError(f"uv could not install the libraries for {target}; its message is above.")


def fill(folder: Path, pins: list[Pin], target: Target) -> tuple[list[Part], str]:
    """Install the pins into a folder and prune them; return the parts and a remark on TensorFlow's libraries, if any.

    Raises PackageError.
    """
    install(pins, folder, target)
    remark = _slim(folder) if (folder / LIBRARIES[0]).is_file() else ""
    parts = _parts(folder, pins)
    _delete_others(folder, {name for part in parts for name in part.files})
    for part in parts:
        _write_record(folder, part.files)
    return parts, remark


def _slim(folder: Path) -> str:
    from tools.package import prelink  # imports NumPy, which the doctor must work without
    from tools.package.elf import LayoutError

    print("Stripping and prelinking TensorFlow's libraries ...", file=sys.stderr)
    (folder / _INIT).write_text(_INIT_TEXT, encoding="utf-8")
    library, framework = (folder / name for name in LIBRARIES)
    _strip(library)
    _strip(framework)
    try:
        prelink.prelink_pair(library, framework, b"TF_")
    except LayoutError as error:
        return f"TensorFlow's libraries are not prelinked, because {error}: they are larger and load more slowly."
    return "TensorFlow's libraries are prelinked."


def _strip(library: Path) -> None:
    """Remove a shared library's symbol tables, which only debuggers read: a quarter of its size."""
    complaints = []
    # LLVM's strip reads libraries of every machine type; that of binutils often only those of its own.
    for tool in filter(None, map(shutil.which, ("llvm-strip", "strip"))):
        done = subprocess.run([tool, "--strip-all", str(library)], check=False, capture_output=True, text=True)
        if not done.returncode:
            return
        complaints.append(done.stderr.strip())
    reasons = "\n".join(complaints) or "Neither strip nor llvm-strip is installed."
    raise PackageError(f"{reasons}\nInstall binutils, or llvm to build for another machine type than this one.")


def _parts(folder: Path, pins: Sequence[Pin]) -> list[Part]:
    installed = importlib.metadata.distributions(path=[str(folder)])
    by_name = {str(canonicalize_name(distribution.name)): distribution for distribution in installed}
    return [_part(pin, by_name[pin.name]) for pin in pins]


def _part(pin: Pin, distribution: importlib.metadata.Distribution) -> Part:
    recorded = distribution.files or []
    names = sorted(file.as_posix() for file in recorded if Path(str(file.locate())).is_file())
    kept = tuple(name for name in names if _is_kept(name, _KEPT.get(pin.name)))
    unpacked = sum(file.size or 0 for file in recorded)
    return Part(pin, distribution.read_text("METADATA") or "", unpacked, kept)


def _is_kept(name: str, needed: Set[str] | None) -> bool:
    if ".dist-info/" in name:  # licences, which may be in a folder named as those of headers are
        return True
    return not _LEFT_OUT.match_file(name) if needed is None else name in needed


def _delete_others(folder: Path, kept: Set[str]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder comes after what is in it
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in kept:
            path.unlink()


def _write_record(folder: Path, names: Iterable[str]) -> None:
    """Write a library's RECORD again (packaging.python.org/specifications/recording-installed-packages)."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name in names:
        if name.endswith(".dist-info/RECORD"):
            record = folder / name
            rows.writerow((name, "", ""))
        else:
            with (folder / name).open("rb") as file:
                digest = base64.urlsafe_b64encode(hashlib.file_digest(file, "sha256").digest()).decode().rstrip("=")
                rows.writerow((name, f"sha256={digest}", file.tell()))
    record.write_text(text.getvalue(), encoding="utf-8")
