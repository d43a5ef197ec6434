"""The package's ``.python_packages``: production dependencies for a target, without what serving never reads.

TensorFlow is pruned to the two shared libraries of its C API, without symbol tables. Whoever imports ``tensorflow``
from there is told so.
"""

from __future__ import annotations

import base64
import csv
import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name, parse_wheel_filename
from pathspec import GitIgnoreSpec

from tools.package import bound_library, lock, wheels
from tools.package.elf import LayoutError
from tools.package.lock import Pin
from tools.package.targets import Target

FOLDER = Path(".python_packages/lib/site-packages")  # where Azure's worker looks for an app's packages

_LIBRARIES = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
_LICENCES = {
    "tensorflow/include/LICENSE": "tensorflow/LICENSE",
    "tensorflow/THIRD_PARTY_NOTICES.txt": "tensorflow/THIRD_PARTY_NOTICES.txt",
}
_NOT_TENSORFLOW = '''"""Only TensorFlow's shared libraries are here, for its C API: the package was built small."""

raise ImportError(
    "This deployment package holds TensorFlow's shared libraries, not its Python modules. "
    "Publish with a remote build, or add the tensorflow wheel to .python_packages."
)
'''

# What other wheels hold for developers: tests, headers, static libraries, type stubs, and commands.
_left_out = GitIgnoreSpec.from_lines(
    [
        "tests/",
        "include/",
        "*.a",
        "*.pyi",
        "*.pxd",
        "*.pyx",
        "*.h",
        "/numpy/f2py/",
        "/numpy/_pyinstaller/",
        "_examples/",
    ]
)


class StripError(Exception):
    """The libraries' symbol tables can't be removed; the message is for who builds."""


@dataclass
class Part:
    """A distribution in the package: its pin, its wheel, what that unpacks to, and the names of its files."""

    pin: Pin
    wheel: Path
    unpacked_bytes: int
    files: list[str] = field(default_factory=list)


def is_tensorflow(name: str) -> bool:
    """Tell whether a distribution is TensorFlow in any of its builds."""
    return name in ("tensorflow", "tensorflow-cpu")


def fetch(target: Target, names: Iterable[str], cache: Path, tick: Callable[[str], object]) -> list[Part]:
    """Fetch the wheels of the named packages and of all they require, except what only TensorFlow's Python requires.

    ``tick`` is told the name of each wheel before it is fetched. Raises WheelError.
    """
    pins = lock.read(target)
    parts: dict[str, Part] = {}
    waiting = [name for name in names if name in pins]
    while waiting:
        pin = pins[waiting.pop(0)]
        if pin.name in parts:
            continue
        tick(pin.name)
        [wheel] = wheels.fetch(target, [pin], cache)
        parts[pin.name] = Part(pin, wheel, wheels.unpacked_bytes(wheel))
        if not is_tensorflow(pin.name):
            waiting += wheels.requirements_of(wheel, target)
    return [parts[name] for name in sorted(parts)]


def fill(folder: Path, parts: Iterable[Part], target: Target, tick: Callable[[str], object]) -> list[str]:
    """Unpack and prune the parts into a folder and note their files; return what there is to say of it.

    ``tick`` is told each part's name before. Raises WheelError and StripError.
    """
    folder.mkdir(parents=True)
    remarks = []
    for part in parts:
        tick(part.pin.name)
        if is_tensorflow(part.pin.name):
            remarks.append(_unpack_tensorflow(part.wheel, folder))
        else:
            _install(part, folder, target)
        part.files = _prune_and_record(folder, part)
    _delete_empty_folders(folder)
    return remarks


def _install(part: Part, folder: Path, target: Target) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-index", "--no-compile", "--only-binary=:all:", "--target", str(folder)]
    command += [
        "--find-links",
        str(part.wheel.parent),
        *wheels.pip_options(target),
        f"{part.pin.name}=={part.pin.version}",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.WheelError(f"pip can't unpack {part.wheel.name}:\n{done.stderr.strip()}")


def _unpack_tensorflow(wheel: Path, folder: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        for name in _LIBRARIES:
            archive.extract(name, folder)
            _strip(folder / name)
        for name, place in _LICENCES.items():
            (folder / place).write_bytes(archive.read(name))
        for name in archive.namelist():
            if PurePosixPath(name).name in ("METADATA", "WHEEL", "RECORD") and name.count("/") == 1:
                archive.extract(name, folder)
    (folder / "tensorflow" / "__init__.py").write_text(_NOT_TENSORFLOW, encoding="utf-8")
    return _bind(*(folder / name for name in _LIBRARIES))


def _bind(library: Path, framework: Path) -> str:
    """Bind the libraries to themselves, which more than halves their load; what can't be is served as it is."""
    try:
        bound_library.bind_pair(library, framework, b"TF_")
    except LayoutError as error:
        return f"TensorFlow's libraries are not bound to themselves, since {error}: they are larger and load slower."
    return "TensorFlow's libraries are bound to themselves."


def _strip(library: Path) -> None:
    """Remove a shared library's symbol tables, which only debuggers read: a quarter of its size."""
    # LLVM's takes every machine type; binutils' often only its own.
    complaints = []
    for tool in filter(None, map(shutil.which, ("llvm-strip", "strip"))):
        done = subprocess.run([tool, "--strip-all", str(library)], check=False, capture_output=True, text=True)
        if not done.returncode:
            return
        complaints.append(done.stderr.strip())
    told = "\n".join(complaints) or "Neither strip nor llvm-strip is installed."
    raise StripError(f"{told}\nInstall binutils, or llvm to build for another machine type than this one.")


def _prune_and_record(folder: Path, part: Part) -> list[str]:
    """Delete what is left out of one distribution, make its RECORD true again, and return the names of its files."""
    name, version, _, _ = parse_wheel_filename(part.wheel.name)
    info = _info_folder(folder, name, str(version))
    recorded = [row[0] for row in csv.reader(io.StringIO((info / "RECORD").read_text(encoding="utf-8")))]
    if is_tensorflow(name):
        recorded += ["tensorflow/__init__.py", *_LICENCES.values()]
    present = sorted({file for file in recorded if (folder / file).is_file() and ".." not in file})
    # A licence may stand in a folder of the name that headers have.
    for file in _left_out.match_files(name for name in present if ".dist-info/" not in name):
        (folder / file).unlink()
    kept = [file for file in present if (folder / file).is_file()]
    _write_record(folder, info, kept)
    return kept


def _info_folder(folder: Path, name: str, version: str) -> Path:
    for info in folder.glob("*.dist-info"):
        found, _, found_version = info.name.removesuffix(".dist-info").rpartition("-")
        if canonicalize_name(found) == name and found_version == version:
            return info
    raise wheels.WheelError(f"The wheel of {name} {version} has no .dist-info folder.")


def _write_record(folder: Path, info: Path, names: Iterable[str]) -> None:
    # The format: packaging.python.org/specifications/recording-installed-packages
    record = info.relative_to(folder) / "RECORD"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name in names:
        path = folder / name
        if name != str(record):
            digest = base64.urlsafe_b64encode(bytes.fromhex(wheels.sha256(path))).decode().rstrip("=")
            rows.writerow((name, f"sha256={digest}", path.stat().st_size))
    rows.writerow((str(record), "", ""))
    (folder / record).write_text(text.getvalue(), encoding="utf-8")


def _delete_empty_folders(folder: Path) -> None:
    """Delete the folders below one that have no file in them any more, and what pip puts beside the packages."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
