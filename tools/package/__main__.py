"""``python -m tools.package --target 3.13``: build what is deployed, prove that it works, and say what it weighs.

Writes into ``dist/``, named by the target: a folder, its zip, and the bill of materials. They appear there when all of
it is done and proven, not before. The same files and versions give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tqdm import tqdm

from serving.models import export_record, versions
from tools.package import archive, proof, published, sbom, site_packages, sizes, wheels
from tools.package.proof import NoInterpreterError, ProofError
from tools.package.site_packages import Part
from tools.package.targets import PYTHONS, Target

PROJECT = Path(__file__).resolve().parents[2]


class PackageError(Exception):
    """The project can't be packaged as it is; the message says what to do."""


def build(target: Target, dist: Path) -> list[str]:
    """Build, prove and put in place the package of a target; return the lines that tell of it.

    Raises PackageError, WheelError, StripError and ProofError, and leaves what was in ``dist`` as it was.
    """
    _check_models(PROJECT / "model")
    with _staging(dist, target) as staging:
        app, package, bill = (staging / f"{target}{ending}" for ending in ("", ".zip", ".sbom.json"))
        parts, told = _fill(app, target, dist / "wheels")
        sbom.write(parts, app / site_packages.FOLDER, target, bill)
        told.append(_compile(app, target))
        zipped = _zip(app, package)
        told.append(_prove(package, target, dist / "wheels"))
        table = sizes.table(app, parts, zipped)
        for made in (app, bill, package):
            _replace(made, dist / made.name)
    return [*table, "", *told, f"Written: {dist / str(target)}/, .zip and .sbom.json beside it."]


def _check_models(folder: Path) -> None:
    for name in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        for version in versions.find(folder, name):
            if not export_record.is_fresh(folder / name / str(version)):
                at = f"model/{name}/{version}"
                raise PackageError(
                    f"{at} has no export that is as new as its sources, and a package can't make one. "
                    f"Run: make export MODEL={at}"
                )


@contextmanager
def _staging(dist: Path, target: Target) -> Iterator[Path]:
    """Give an empty folder for the build; it is deleted at the end, however that comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half done is deleted then, too
    staging = dist / f".{target}"
    shutil.rmtree(staging, ignore_errors=True)  # of a build that was killed
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(app: Path, target: Target, cache: Path) -> tuple[list[Part], list[str]]:
    for name in published.published(PROJECT):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, app / name)
    with tqdm(desc="fetching wheels", unit=" wheels", leave=False) as bar:
        parts = site_packages.fetch(target, _production(), cache, lambda name: _step(bar, name))
    with tqdm(desc="unpacking", total=len(parts), unit=" wheels", leave=False) as bar:
        told = site_packages.fill(app / site_packages.FOLDER, parts, target, lambda name: _step(bar, name))
    return parts, told


def _step(bar: tqdm, name: str) -> None:
    bar.set_postfix_str(name)
    bar.update()


def _production() -> list[str]:
    """Return the names in ``requirements.txt``, of every target."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("#")]


def _compile(app: Path, target: Target) -> str:
    """Compile the package's modules: it is mounted read-only, so that every cold start would do it again."""
    try:
        python = proof.find_interpreter(target)  # of any machine type: bytecode is the same
    except NoInterpreterError as error:
        return f"NOT COMPILED: {error} Modules are compiled at each cold start instead."
    command = [str(python), "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."]
    subprocess.run(command, cwd=app, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    return f"Compiled with Python {target.python}."


def _zip(app: Path, package: Path) -> dict[str, int]:
    total = sum(path.stat().st_size for path in app.rglob("*") if path.is_file())
    with tqdm(desc="zipping", total=total, unit="B", unit_scale=True, leave=False) as bar:
        return archive.write(app, package, bar.update)


def _prove(package: Path, target: Target, cache: Path) -> str:
    try:
        seen = proof.prove(package, target, cache)
    except NoInterpreterError as error:
        return f"NOT PROVEN: {error} Elsewhere: python -m tools.package.proof {package.name}"
    return (
        f"Proven: {len(seen.answers)} requests answered by a bare Python {target.python} ({seen.runtime}), "
        f"the first {seen.first_answer_seconds:.2f} s after the start."
    )


def _replace(made: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    made.replace(place)


def main() -> int:
    """Build the package; return 0, or 1 with a line that says what to do."""
    parser = argparse.ArgumentParser(prog="python -m tools.package", description=__doc__)
    help_ = f"one of {', '.join(PYTHONS)}; with -aarch64 behind it for arm64 (default: 3.13)"
    parser.add_argument("--target", type=Target.parse, default=Target.parse("3.13"), help=help_)
    parser.add_argument("--dist", type=Path, default=PROJECT / "dist", help="where to write (default: dist/)")
    options = parser.parse_args()
    try:
        print("\n".join(build(options.target, options.dist.resolve())))
    except (PackageError, wheels.WheelError, site_packages.StripError, ProofError, OSError, ValueError) as error:
        print(f"No package was made. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
