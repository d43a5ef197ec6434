"""``python -m benchmarks.package_start``: cold start of the deployment package, with and without TensorFlow.

Beside them: a floor, which is a function that only imports NumPy and orjson; the same app with all wheels, as a remote
build installs them; and the naive app. Measures from the spawn of the process to the first answer in the 2017 format,
with a warm page cache and, as on a new instance, with a dropped one. All are folders as on Azure. A bare interpreter
runs them, under Microsoft's worker runtime if it exists for that Python. Writes ``docs/package.md``. Run before:

    make package
    python -m tools.package --with-tensorflow --dist dist/with-tensorflow
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks import page_cache
from benchmarks.figures import ROOT
from benchmarks.report import machine
from tools.package import lock, proof, published, site_packages
from tools.package.targets import Target

_READERS = (
    "For operators: what the package saves compared with installing every wheel, and what TensorFlow costs in it."
)

_WHAT = (
    "*All wheels* are what a remote build installs; LiteRT serves there, too. *Floor* is a function that only imports "
    "NumPy and orjson, with the package's libraries."
)

_FUNCTION = "PredictXor"
_FLOOR = """import azure.functions as func
import numpy
import orjson


def main(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(orjson.dumps({"labels": numpy.eye(2, 1).tolist()}), mimetype="application/json")
"""


@dataclass
class App:
    """A folder as on Azure, and what was measured of it, by the state of the page cache; the first is ours."""

    title: str
    folder: Path
    settings: tuple[str, ...] = ()
    seconds: dict[str, list[float]] = field(default_factory=dict)
    resident_kib: list[int] = field(default_factory=list)


def _apps(scratch: Path, packages: Iterable[Path], target: Target) -> list[App]:
    """Write the apps, from copies of the packages, so that running them leaves those unchanged."""
    slim, full = (Path(shutil.copytree(package, scratch / str(index))) for index, package in enumerate(packages))
    wheels, floor, naive = (scratch / name for name in ("wheels", "floor", "naive"))
    _write_app_of_wheels(wheels, target)
    _write_function(floor, _FLOOR, slim)
    _write_function(naive, (ROOT / "benchmarks" / "naive_app.py").read_text(encoding="utf-8"), wheels)
    shutil.copytree(ROOT / "model" / "xor", naive / "model" / "xor")
    return [
        App("the package", slim),
        App("with TensorFlow, which serves", full, ("SERVING_ENGINE=tensorflow",)),
        App("all wheels", wheels),
        App("naive app", naive),
        App("floor", floor),
    ]


def _write_app_of_wheels(folder: Path, target: Target) -> None:
    """Write the app with every production wheel, as a remote build does."""
    for name in published.published(ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    site_packages.install(lock.read(lock.PRODUCTION, target), folder / site_packages.FOLDER, target)
    # As pip does where it runs in the target's own Python; a few files are for other versions.
    python = str(proof.find_interpreter(target))
    subprocess.run([python, "-I", "-S", "-m", "compileall", "-qq", str(folder)], check=False)


def _write_function(folder: Path, code: str, other: Path) -> None:
    """Write an app with one function, which has the libraries of another app."""
    (folder / _FUNCTION).mkdir(parents=True)
    for name in ("host.json", f"{_FUNCTION}/function.json"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / _FUNCTION / "__init__.py").write_text(code, encoding="utf-8")
    packages = folder / site_packages.FOLDER.parts[0]
    packages.symlink_to(other / packages.name, target_is_directory=True)


def _run(app: App, interpreter: Path, runtime: Path | None, state: str) -> None:
    options = ["--first-only", *(option for setting in app.settings for option in ("--setting", setting))]
    if state == "warm":
        proof.run_bare(interpreter, app.folder, runtime, *options)  # an earlier measurement has dropped the cache
    else:
        page_cache.drop()
    seen = proof.run_bare(interpreter, app.folder, runtime, *options)
    app.seconds.setdefault(state, []).append(float(seen["first_answer_seconds"]))
    app.resident_kib.append(int(seen["resident_kib"]))


def _size(folder: Path) -> int:
    files = (Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)
    return sum(path.stat().st_size for path in files)


def _report(apps: list[App], target: Target, rounds: int, runtime: str) -> str:
    titles = {"warm": "spawn to first answer, s", "dropped": "the same, page cache dropped, s"}
    rows = [["unpacked, MB", *(f"{_size(app.folder) / 1e6:,.0f}" for app in apps)]]
    for state in apps[0].seconds:
        rows.append([titles[state], *(f"{median(app.seconds[state]):.2f}" for app in apps)])
        rows.append(["times the package's", *(f"{_ratio(apps[0], app, state):.2f}" for app in apps)])
    rows.append(["resident after the first answer, MB", *(f"{median(app.resident_kib) / 1024:.0f}" for app in apps)])
    lines = ["# The package's cold start", "", _READERS, "", f"| | {' | '.join(app.title for app in apps)} |"]
    lines += ["|---" + "|---:" * len(apps) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    how = (
        f"Medians of {rounds} rounds, each with all in turn, run by a bare Python {target.python} ({runtime}); ratios "
        f"are medians of each round's. {_WHAT} Measured with `make package TARGET={target.python}`, "
        "`python -m tools.package --with-tensorflow --dist dist/with-tensorflow` and "
        f"`python -m benchmarks.package_start`. {machine()}."
    )
    return "\n".join([*lines, "", how, ""])


def _ratio(base: App, other: App, state: str) -> float:
    pairs = zip(base.seconds[state], other.seconds[state], strict=True)
    return median(theirs / ours for ours, theirs in pairs)


def main() -> int:
    """Measure all apps and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.package_start", description=__doc__)
    parser.add_argument("--target", type=Target.parse, default=Target.parse("3.13"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "package.md", help="default: docs/package.md")
    options = parser.parse_args()
    target = options.target
    packages = [ROOT / "dist" / str(target), ROOT / "dist" / "with-tensorflow" / str(target)]
    for package in packages:
        if not package.is_dir():
            raise SystemExit(f"{package.relative_to(ROOT)} is missing. See: python -m benchmarks.package_start --help")
    interpreter = proof.bare_interpreter(target)
    with TemporaryDirectory() as scratch:
        apps = _apps(Path(scratch), packages, target)
        folder = Path(scratch) / "runtime"
        runtime = folder if proof.install_runtime(folder, target) else None
        states = ["warm", *(["dropped"] if page_cache.can_drop() else [])]
        for _ in tqdm(range(options.rounds), desc="measuring"):
            for state in states:
                for app in apps:
                    _run(app, interpreter, runtime, state)
        name = "under Microsoft's worker runtime" if runtime else "main called directly"
        text = _report(apps, target, options.rounds, name)
    options.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
