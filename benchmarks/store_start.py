"""``python -m benchmarks.store_start``: cold starts with models from a folder and from a store, in seconds.

From the spawn of a process to the first answer, with a model of 14 MB and one of 100 MB: from a folder, from Azurite on
this machine with an empty cache, and with what an earlier process has left in the cache. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from time import time
from typing import Any

from tqdm import tqdm

from benchmarks.figures import ROOT
from tools.store import azurite
from tools.store.__main__ import put_all

_ROUNDS = 5
_ANSWER = """
import sys, time
import serving.http
from serving.models.repository import shared
shared().get(sys.argv[1]).warm_up()
print(time.time())
"""


def _models() -> Iterator[tuple[str, Any]]:
    import keras

    dense = keras.layers.Dense
    yield "mobilenet", keras.applications.MobileNetV2(weights=None)
    yield "mlp", keras.Sequential([keras.Input((784,)), dense(4600, "relu"), dense(4600, "relu"), dense(10)])


def _write(root: Path) -> None:
    for name, model in _models():
        folder = root / name / "1"
        folder.mkdir(parents=True)
        model.save(folder / "model.keras")
        subprocess.run([sys.executable, "-m", "export", str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (folder / "model.keras").unlink()


def _seconds(name: str, settings: Mapping[str, str]) -> float:
    spawned = time()
    command = [sys.executable, "-c", _ANSWER, name]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, check=True)
    return float(done.stdout.splitlines()[-1]) - spawned


def _round(name: str, folder: Path, store: Mapping[str, str]) -> list[float]:
    with tempfile.TemporaryDirectory() as cache:
        from_store = {**store, "SERVING_CACHE_PATH": f"{cache}/cache"}
        from_folder = {"SERVING_MODEL_PATH": str(folder)}
        return [_seconds(name, settings) for settings in (from_folder, from_store, from_store)]


def main() -> None:
    """Measure, and print the table."""
    argparse.ArgumentParser(prog="python -m benchmarks.store_start", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, blobs = Path(scratch) / "models", Path(scratch) / "azurite"
        _write(folder)
        blobs.mkdir()
        with azurite.running(blobs) as endpoint:
            put_all(endpoint, folder)
            store = {
                "SERVING_MODEL_PATH": endpoint.url("models"),
                "SERVING_STORE_CONNECTION": endpoint.connection,
            }
            print("| model | from a folder | from the store | from its cache |", "|---|---:|---:|---:|", sep="\n")
            for name in ("mobilenet", "mlp"):
                rounds = [_round(name, folder, store) for _ in tqdm(range(_ROUNDS), desc=name)]
                size = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
                times = (f"{median(column):.2f} s" for column in zip(*rounds, strict=True))
                print(f"| {name}, {size / 1e6:.0f} MB | " + " | ".join(times) + " |")


if __name__ == "__main__":
    main()
