"""``python -m tools.package --target 3.13``: build what is deployed, prove that it works, and print its sizes.

Writes a folder, its zip and its bill of materials into ``dist/``, named by the target. They appear there when all of
them are built and proven. The same files and versions give the same bytes, and what is there from the same is left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from serving.models import export_record, versions
from serving.models.export_record import ExportRecord
from tools.package import archive, lock, proof, published, receipt, sbom, site_packages, sizes
from tools.package.errors import NoInterpreterError, PackageError
from tools.package.lock import Pin
from tools.package.staging import staging
from tools.package.targets import Target, parser

PROJECT = Path(__file__).resolve().parents[2]

_NO_REASON = "it was made elsewhere, exported by an older version, or exported with --engine tensorflow"


def build(target: Target, dist: Path, with_tensorflow: bool = False, with_store: bool = False) -> list[str]:
    """Build and prove the package of a target; return the lines to print.

    TensorFlow is in it where a model needs it, or if it is asked for, and what reads a store if that is asked for.
    Raises PackageError, and leaves what was in ``dist`` as it was.
    """
    pins = lock.read(lock.PACKAGE, target)
    if with_store:
        there = {pin.name for pin in pins}
        pins += [pin for pin in lock.read(lock.STORE, target) if pin.name not in there]
    pins, engines = _choose_engines(PROJECT / "model", pins, target.python, with_tensorflow)
    inputs = receipt.of_inputs(PROJECT, target, pins, with_tensorflow)
    if lines := receipt.lines(dist, target, inputs):
        return [*lines, f"Unchanged: {dist / str(target)}/ and the files beside it were built from the same."]
    with staging(dist, str(target)) as folder:
        app, package, bill = (folder / f"{target}{ending}" for ending in ("", ".zip", ".sbom.json"))
        _copy_app(app)
        parts, remark = site_packages.fill(app / site_packages.FOLDER, pins, target)
        sbom.write(parts, target, bill)
        compiled = _compile(app, target)
        table = sizes.table(app, parts, _zip(app, package))
        # Where LiteRT serves every model, TensorFlow would not be run otherwise.
        proven = _prove(package, target, *(["SERVING_ENGINE=tensorflow"] if with_tensorflow else []))
        lines = [*table, "", engines, *filter(None, [remark]), compiled, proven]
        if not any(line.startswith("NOT ") for line in (compiled, proven)):  # the Python may be there next time
            receipt.write(folder, target, inputs, lines)
    return [*lines, f"Written: {dist / str(target)}/, .zip and .sbom.json beside it."]


def _choose_engines(folder: Path, pins: list[Pin], python: str, with_tensorflow: bool) -> tuple[list[Pin], str]:
    """Leave TensorFlow out where nothing needs it; return the pins that are left and a line that says so.

    Raises PackageError where TensorFlow is needed, and is not among the pins.
    """
    litert = next((pin.version for pin in pins if pin.name == site_packages.LITERT), "")
    reasons = _reasons_for_tensorflow(folder, litert)
    left = [pin for pin in pins if pin.name not in site_packages.TENSORFLOW]
    if versions.names(folder) and not reasons and not with_tensorflow:
        return left, "TensorFlow is not in the package: LiteRT serves every model."
    because = "; ".join(f"{at} ({reason})" for at, reason in reasons.items())
    because = because or ("it was asked for" if with_tensorflow else "there is no model in it yet")
    if left == pins:
        raise PackageError(f"TensorFlow is needed, but has no wheel for Python {python}: {because}. Use TARGET=3.13")
    return pins, f"TensorFlow is in the package: {because}."


def _reasons_for_tensorflow(folder: Path, litert: str) -> dict[str, str]:
    """Return each version that needs TensorFlow, and why; raises PackageError for one that can't be served.

    ``litert`` is the version of LiteRT in the package.
    """
    reasons = {}
    for name in versions.names(folder):
        for version in versions.find(folder, name).values():
            at = f"model/{name}/{version.name}"
            if not export_record.is_fresh(version):
                raise PackageError(
                    f"{at} has no export that matches its files, and the package can't export models. "
                    f"Run: make export MODEL={at}"
                )
            record = ExportRecord.read(version)
            if record.litert and export_record.litert_hash(version) != record.litert.sha256:
                raise PackageError(f"{at}/model.tflite is missing or damaged. Run: make export MODEL={at}")
            if record.litert and litert and record.litert.version != litert:
                raise PackageError(
                    f"{at} was proven with LiteRT {record.litert.version}, and the package has {litert}. "
                    f"Run: make export MODEL={at}"
                )
            if record.litert is None:
                reasons[at] = record.engine or _NO_REASON
    return reasons


def _copy_app(app: Path) -> None:
    for name in published.published(PROJECT):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, app / name)


def _compile(app: Path, target: Target) -> str:
    """Compile the package's modules: it is mounted read-only, so each cold start would compile them again."""
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


def _prove(package: Path, target: Target, *settings: str) -> str:
    try:
        seen = proof.prove(package, target, *settings)
    except NoInterpreterError as error:
        return f"NOT PROVEN: {error} Elsewhere: python -m tools.package.proof {package.name}"
    answered = len(seen.answers) - len(seen.warnings)
    proven = (
        f"Proven: {answered} requests answered by a bare Python {target.python} ({seen.runtime}), "
        f"the first {seen.first_answer_seconds:.2f} s after the start."
    )
    return "\n".join([*seen.warnings, proven])


def main() -> int:
    """Build the package; return 0, or 1 with a line that says what to do."""
    arguments = parser("tools.package", __doc__)
    arguments.add_argument(
        "--with-tensorflow",
        action="store_true",
        help="keep TensorFlow where LiteRT serves every model: for SERVING_ENGINE=tensorflow, or for other models in "
        "SERVING_MODEL_PATH",
    )
    arguments.add_argument(
        "--with-store",
        action="store_true",
        help="add what models in Azure Blob Storage need: for a URL in SERVING_MODEL_PATH",
    )
    options = arguments.parse_args()
    try:
        print("\n".join(build(options.target, options.dist.resolve(), options.with_tensorflow, options.with_store)))
    except (PackageError, OSError) as error:
        print(f"No package was made. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
