"""Checks what is published: a package that was built, or else the app with the libraries installed here."""

from __future__ import annotations

import filecmp
import importlib.metadata
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from serving.models import export_record
from tools.doctor.finding import Finding, Level, ok, problem, warning
from tools.doctor.libraries import read_requirements
from tools.doctor.models import Version
from tools.doctor.plans import GB, MAX_PACKAGE_BYTES, REMOTE_BUILD_SECONDS, Plan
from tools.package.published import published
from tools.package.site_packages import FOLDER, LIBRARIES

SITE_PACKAGES = FOLDER.as_posix()

_LIBRARY = f"{SITE_PACKAGES}/{LIBRARIES[0]}"
_LITERT = f"{SITE_PACKAGES}/ai_edge_litert/libLiteRt.so"
_PIECE_BYTES = 4 * 1024 * 1024

_MAKE = "make package, then func azure functionapp publish APP --no-build"


class PackageError(Exception):
    """The given path is not a package; the message is one line."""


@dataclass(frozen=True)
class Package:
    """The files of a package with their sizes, and the size of its zip.

    Where it is not built yet, ``files`` are the app's own, and ``installed_bytes`` is the size of the libraries here.
    """

    name: str
    files: Mapping[str, int]
    zipped_bytes: int | None = None
    installed_bytes: int = 0
    place: Path | None = None  # the zip or folder, where it is built

    @property
    def is_built(self) -> bool:
        """Whether it contains its libraries."""
        return any(name.startswith(SITE_PACKAGES) for name in self.files)

    @property
    def is_slim(self) -> bool:
        """Whether it has libraries, but not TensorFlow's Python."""
        return self.is_built and not self._holds("tensorflow/python/")

    @property
    def has_tensorflow(self) -> bool:
        """Whether it contains TensorFlow's C library."""
        return _LIBRARY in self.files

    @property
    def has_store(self) -> bool:
        """Whether it contains what reads models from Azure Blob Storage."""
        return self._holds("azure/storage/blob/")

    @property
    def can_export(self) -> bool:
        """Whether it contains Keras, or a remote build will install it."""
        return not self.is_built or self._holds("keras/")

    def _holds(self, folder: str) -> bool:
        return any(name.startswith(f"{SITE_PACKAGES}/{folder}") for name in self.files)


def find(root: Path, given: Path | None) -> list[Package]:
    """Return the given package, or those in ``dist``, or what publishing the app as it is would upload.

    Raises PackageError.
    """
    if given is not None:
        return [_read(given)]
    made = sorted(root.glob("dist/*.zip")) or sorted(path.parent for path in root.glob("dist/[!.]*/host.json"))
    if made:
        return [_read(path) for path in made]
    files = {name: (root / name).stat().st_size for name in published(root)}
    package = Package("The app with its .python_packages", files)
    if package.is_built:
        return [package]
    return [Package("The app with the libraries installed here", files, None, _installed_bytes(root))]


def _read(path: Path) -> Package:
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file.stat().st_size for file in path.rglob("*") if file.is_file()}
        return Package(path.name, files, place=path)
    try:
        with zipfile.ZipFile(path) as archive:
            files = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
    except (OSError, zipfile.BadZipFile) as error:
        raise PackageError(f"{path} is neither a folder nor a readable zip file: {error}") from error
    return Package(path.name, files, path.stat().st_size, place=path)


def _installed_bytes(root: Path) -> int:
    """Return the size of all installed libraries that requirements.txt asks for, directly or not."""
    waiting, seen, total = list(read_requirements(root / "requirements.txt").values()), set(), 0
    while waiting:
        name = waiting.pop().name
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # `libraries` reports it
            continue
        total += sum(_size(Path(str(distribution.locate_file(file)))) for file in distribution.files or ())
        needed = map(Requirement, distribution.requires or ())
        waiting += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return total


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def check(package: Package, plan: Plan, root: Path, found: Sequence[Version]) -> list[Finding]:
    """Check whether a package fits the plan and contains what Azure needs."""
    findings = [_fits(package, plan)]
    if "host.json" not in package.files:
        todo = "package the folder's content, not the folder itself"
        findings.append(problem(f"{package.name} has no host.json at its top level: Azure finds no function", todo))
    if "local.settings.json" in package.files:
        todo = "remove it, and change the secrets in it"
        findings.append(problem(f"{package.name} contains local.settings.json, which is for this machine", todo))
    findings += _hidden(package) + _models(package, root, found) + _stale(package, root)
    if package.is_built:
        return findings + _libraries(package)
    fits = findings[0].level is Level.OK
    return findings + (_remote_build(package) if fits and plan.temporary_bytes else [])


def _fits(package: Package, plan: Plan) -> Finding:
    unpacked = sum(package.files.values()) + package.installed_bytes
    sizes = f"{unpacked / GB:.2f} GB unpacked"
    if package.zipped_bytes is not None:
        sizes = f"{package.zipped_bytes / GB:.2f} GB zipped, {sizes}"
    what = f"{package.name}: {sizes}"
    if plan.temporary_bytes is None:
        return ok(f"{what}; {plan.title} has the limits that you give it")
    if (package.zipped_bytes or 0) > MAX_PACKAGE_BYTES:
        return problem(f"{what}; the limit of a zip is {MAX_PACKAGE_BYTES / GB:.0f} GB", _MAKE)
    limit = f"{plan.temporary_bytes / GB:.1f} GB of temporary storage ({plan.title})"
    if unpacked > plan.temporary_bytes:
        return problem(f"{what}; more than the {limit}", _make_smaller(package, unpacked - plan.temporary_bytes))
    return ok(f"{what}, of the {limit}")


def _make_smaller(package: Package, excess: int) -> str:
    if not package.is_slim:
        return _MAKE
    models = sum(size for name, size in package.files.items() if name.startswith("model/"))
    if models > excess:
        return "keep models on a mounted share and set SERVING_MODEL_PATH to it"
    return "choose a plan with more storage, such as premium"


def _hidden(package: Package) -> list[Finding]:
    folders = {name.partition("/")[0] for name in package.files if name.startswith(".") and "/" in name}
    needless = ", ".join(sorted(folders - {SITE_PACKAGES.partition("/")[0]}))
    return (
        [warning(f"{package.name} contains needless folders: {needless}", "add them to .funcignore")]
        if needless
        else []
    )


def _models(package: Package, root: Path, found: Sequence[Version]) -> list[Finding]:
    missing = []
    for version in found:
        if version.is_ready and version.folder.is_relative_to(root):
            name = (version.folder / export_record.SAVED_MODEL).relative_to(root).as_posix()
            if name not in package.files:
                missing.append(str(version))
    if not missing:
        return []
    todo = "make package; if it is still missing, .funcignore excludes it"
    return [problem(f"{package.name} does not contain {', '.join(missing)}, which is ready to be served", todo)]


def _stale(package: Package, root: Path) -> list[Finding]:
    """Find files of the app that have changed since the package was built."""
    if package.place is None:
        return []
    names = [name for name in published(root) if not name.startswith(SITE_PACKAGES)]
    changed = _changed(package.place, root, names)
    if not changed:
        return []
    others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return [warning(f"{package.name} is out of date: {changed[0]}{others} changed since it was built", "make package")]


def _changed(place: Path, root: Path, names: Sequence[str]) -> list[str]:
    if place.is_dir():
        there = [name for name in names if (place / name).is_file()]
        same = {name for name in there if filecmp.cmp(root / name, place / name, shallow=False)}
    else:
        with zipfile.ZipFile(place) as archive:
            checksums = {entry.filename: entry.CRC for entry in archive.infolist()}
        same = {name for name in names if name in checksums and checksums[name] == _checksum(root / name)}
    return [name for name in names if name not in same]


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def _libraries(package: Package) -> list[Finding]:
    if not {_LIBRARY, _LITERT} & package.files.keys():
        todo = "make package"
        return [problem(f"{package.name} contains libraries, but neither LiteRT's nor TensorFlow's for Linux", todo)]
    names = [name for name in package.files if name.startswith(SITE_PACKAGES)]
    tags = {match[1] for name in names if (match := re.search(r"\.(cpython-\d+-[\w-]+)\.so$", name))}
    if len(tags) != 1 or "linux" not in min(tags) or any(name.endswith(".pyd") for name in names):
        kinds = ", ".join(sorted(tags)) or "no Python on Linux"
        todo = "make package, which installs wheels for one Python on Linux"
        return [problem(f"{package.name} contains modules compiled for {kinds}; Azure runs one Python on Linux", todo)]
    [(major, minor, machine)] = [re.findall(r"cpython-(\d)(\d+)-(\w+)", tag)[0] for tag in tags]
    kind = _KINDS[package.has_tensorflow, package.is_slim]
    python = f"{major}.{minor}"
    return [
        ok(f"Built for Python {python} on Linux {machine}, with {kind}; create the app with --runtime-version {python}")
    ]


# By whether TensorFlow's C library is there, and whether its Python is not.
_KINDS = {
    (False, True): "LiteRT, without TensorFlow",
    (False, False): "TensorFlow without its C library",
    (True, True): "TensorFlow's C library without its Python",
    (True, False): "all of TensorFlow",
}


def _remote_build(package: Package) -> list[Finding]:
    if not package.installed_bytes:
        return [warning(f"{package.name} contains no libraries", f"publish it with a remote build, or: {_MAKE}")]
    what = f"A remote build has {REMOTE_BUILD_SECONDS} s to install {package.installed_bytes / GB:.2f} GB of libraries"
    return [warning(what, f"avoid it: {_MAKE}")]
