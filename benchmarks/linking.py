"""``python -m benchmarks.linking``: TensorFlow's libraries in the package, compared with the installed wheel's.

Measures linking, loading the XOR model and running it once, and resident memory, each in a fresh process with a warm
page cache. Needs a package for the Python that runs this (``make package TARGET=3.11``). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.figures import ROOT
from tools.package.site_packages import FOLDER

_CHILD = """
import json, sys
from pathlib import Path
from time import perf_counter
sys.path.insert(0, sys.argv[1])
import numpy as np
from benchmarks.memory import memory_kib
from serving.engines import tensorflow_library
from serving.engines.options import LoadOptions
from serving.engines.tensorflow_c import Session
start = perf_counter()
tensorflow_library.load_api()
linked = perf_counter()
Session(Path("model/xor/1"), LoadOptions(is_optimized=True)).run("serving_default", {"X": np.ones((2, 2), np.float32)})
answered = perf_counter()
folder = tensorflow_library.find_library().parent
size = sum(path.stat().st_size for path in folder.glob("libtensorflow_*.so.2"))
print(json.dumps([linked - start, answered - start, memory_kib()["Rss"] / 1e3 * 1.024, size / 1e6, str(folder)]))
"""
_ROWS = ("linking, s", "linking, loading the XOR model, first run, s", "resident memory then, MB", "on disk, MB")


def _measure(folder: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, folder], cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    *figures, found = json.loads(done.stdout.splitlines()[-1])
    if folder and not Path(found).is_relative_to(folder):
        raise SystemExit(f"Expected the libraries in {folder}, but those in {found} were loaded.")
    return figures


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linking", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    options = parser.parse_args()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package = ROOT / "dist" / f"python{version}-linux-x86_64" / FOLDER
    if not package.is_dir():
        raise SystemExit(f"The package for this Python is missing. Run: make package TARGET={version}")
    folders = {"the wheel's libraries": "", "the package's": str(package)}
    for folder in folders.values():
        _measure(folder)
    runs = [[_measure(folder) for folder in folders.values()] for _ in range(options.rounds)]
    print(f"| medians of {options.rounds} runs in turn | {' | '.join(folders)} |\n|---|---:|---:|")
    for index, title in enumerate(_ROWS):
        wheels, packages = (median(pair[side][index] for pair in runs) for side in (0, 1))
        digits = 3 if title.endswith("s") else 0
        print(f"| {title} | {wheels:,.{digits}f} | {packages:,.{digits}f} |")


if __name__ == "__main__":
    main()
