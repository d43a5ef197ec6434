"""``python -m benchmarks.real_models``: larger models in this app, each engine, the naive app and ONNX Runtime.

Calls the functions without HTTP, in a fresh process for each app and model. Measures the time from the function's
import to the first answer, latency, requests/s with eight at a time, and memory. Writes the tables of
``docs/real_models.md``. ONNX Runtime is measured where ``benchmarks.peers`` has installed it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.peers import environments
from benchmarks.real_models import catalogue, report
from benchmarks.real_models.catalogue import MODELS, Model
from benchmarks.report import fill, machine
from serving.models.export_record import ExportRecord

_ONNX = "fastapi-onnxruntime-tuned"


def main() -> None:
    """Measure the models and write the tables."""
    options = _parser().parse_args()
    models = [model for model in MODELS if not options.only or model.name in options.only]
    apps = [app for app in report.APPS if app != "onnx" or environments.is_installed(_ONNX)]
    with nullcontext(options.models) if options.models else tempfile.TemporaryDirectory() as folder:
        measured = []
        for one in _measure(models, apps, options.rounds, Path(folder).resolve()):
            measured.append(one)
            text = f"{report.markdown(measured)}\n\n{_how(options.rounds)}"
            if options.save:  # after each model, since all of them take long
                fill(options.save, {"measured": text})
    print(text)


def _how(rounds: int) -> str:
    return (
        f"Medians of {rounds} round{'s' * (rounds > 1)}, each with the apps in turn, in fresh processes with a warm "
        f"page cache. {machine()}. Measured with `python -m benchmarks.real_models`."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_models", description=__doc__)
    names = [model.name for model in MODELS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"some of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--models", type=Path, help="a folder that keeps the exports for the next time")
    page = ROOT / "docs" / "real_models.md"
    parser.add_argument("--save", type=Path, nargs="?", const=page, help="file with markers (docs/real_models.md)")
    return parser


def _measure(models: Sequence[Model], apps: Sequence[str], rounds: int, folder: Path) -> Iterator[report.Measured]:
    with tqdm(total=len(models) * (1 + rounds * len(apps))) as progress:

        def begin(what: str) -> None:
            progress.set_description(what)
            progress.update()

        for model in models:
            begin(f"{model.name}, export")
            catalogue.prepare(model, folder)
            runs: dict[str, list[dict[str, float]]] = {app: [] for app in apps}
            for _ in range(rounds):
                for app, figures in runs.items():
                    begin(f"{model.name}, {app}")
                    figures += _child(app, model.name, folder)
            engine = "LiteRT" if ExportRecord.read(folder / model.name / "1").litert else "TensorFlow"
            yield report.Measured(model.title, engine, runs)


def _child(app: str, name: str, folder: Path) -> list[dict[str, float]]:
    """Return what a child has measured; nothing, after a message, if it failed: its cells stay empty."""
    environment = {**os.environ, "SERVING_MODEL_PATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["SERVING_ENGINE"] = "tensorflow" if app == "tensorflow" else "auto"
    python = environments.python(_ONNX) if app == "onnx" else sys.executable
    command = [str(python), "-m", "benchmarks.real_models.child", app, str(folder), name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        tqdm.write(f"{name} failed in {app}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return []
    return [json.loads(done.stdout.splitlines()[-1])]


if __name__ == "__main__":
    main()
