"""``python -m benchmarks.package_start``: cold start of the deployment package and of the same app with all wheels.

Measures from the spawn of the process to the first answer in the 2017 format, with a warm page cache and, as on a new
instance, with a dropped one. Both apps are folders as on Azure. A bare interpreter runs them, under Microsoft's worker
runtime if it exists for that Python. Run ``make package`` first. Writes ``docs/package.md``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks import page_cache
from benchmarks.figures import ROOT
from benchmarks.report import machine
from tools.package import lock, proof, published, site_packages
from tools.package.targets import Target

Apps = dict[str, Path]

_READERS = "For operators: what the package saves compared with installing every wheel."


def _full_app(folder: Path, target: Target) -> None:
    """Write the app with every production wheel, as a remote build does."""
    for name in published.published(ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    site_packages.install(lock.read(lock.PRODUCTION, target), folder / site_packages.FOLDER, target)
    # As pip does where it runs in the target's own Python; a few files are for other versions.
    python = str(proof.find_interpreter(target))
    subprocess.run([python, "-I", "-S", "-m", "compileall", "-qq", str(folder)], check=False)


def _seconds(app: Path, interpreter: Path, runtime: Path | None, is_warm: bool) -> float:
    if is_warm:
        proof.run_bare(interpreter, app, runtime, "--first-only")  # an earlier measurement has dropped the cache
    else:
        page_cache.drop()
    seen = proof.run_bare(interpreter, app, runtime, "--first-only")
    return float(seen["first_answer_seconds"])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _measure(apps: Apps, interpreter: Path, runtime: Path | None, rounds: int) -> dict[str, dict[str, list[float]]]:
    states = {"warm": True, **({"dropped": False} if page_cache.can_drop() else {})}
    figures: dict[str, dict[str, list[float]]] = {state: {name: [] for name in apps} for state in states}
    for _ in tqdm(range(rounds), desc="measuring"):
        for state, is_warm in states.items():
            for name, app in apps.items():
                figures[state][name].append(_seconds(app, interpreter, runtime, is_warm))
    return figures


def _report(apps: Apps, figures: dict[str, dict[str, list[float]]], target: Target, rounds: int, runtime: str) -> str:
    titles = {"warm": "spawn to first answer, s", "dropped": "the same, page cache dropped, s"}
    rows = [("unpacked, MB", *(f"{_size(app) / 1e6:,.0f}" for app in apps.values()))]
    for state, of_apps in figures.items():
        slim, full = (median(values) for values in of_apps.values())
        rows.append((titles[state], f"{slim:.2f}", f"{full:.2f}"))
    lines = ["# The package's cold start", "", _READERS, "", f"| | {' | '.join(apps)} |", "|---|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    how = (
        f"Medians of {rounds} rounds, each with both in turn, run by a bare Python {target.python} ({runtime}). "
        f"Measured with `make package TARGET={target.python}` and "
        f"`python -m benchmarks.package_start`. {machine()}"
    )
    return "\n".join([*lines, "", how, ""])


def main() -> int:
    """Measure both and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.package_start", description=__doc__)
    parser.add_argument("--target", type=Target.parse, default=Target.parse("3.13"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "package.md", help="default: docs/package.md")
    options = parser.parse_args()
    dist, target = ROOT / "dist", options.target
    if not (dist / str(target)).is_dir():
        raise SystemExit(f"dist/{target}/ is missing. Run: make package TARGET={target.python}")
    interpreter = proof.bare_interpreter(target)
    with TemporaryDirectory() as scratch:
        # A copy, so that running it leaves the package unchanged.
        apps = {"the package": Path(scratch) / "package", "all wheels": Path(scratch) / "full"}
        shutil.copytree(dist / str(target), apps["the package"])
        _full_app(apps["all wheels"], target)
        folder = Path(scratch) / "runtime"
        runtime = folder if proof.install_runtime(folder, target) else None
        figures = _measure(apps, interpreter, runtime, options.rounds)
        name = "under Microsoft's worker runtime" if runtime else "main called directly"
        text = _report(apps, figures, target, options.rounds, name)
    options.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
