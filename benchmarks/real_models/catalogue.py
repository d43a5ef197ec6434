"""The models: an MLP, an LSTM, and architectures of ``keras.applications``, all with random weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.figures import ROOT
from benchmarks.peers import environments
from serving.models import export_record

_DIGITS = 3  # of the numbers that are sent


@dataclass(frozen=True)
class Model:
    """A model, and the shape of what is sent to it."""

    name: str
    title: str
    shape: tuple[int, ...]
    make: Callable[[Any], Any]  # from the module keras


def _mlp(keras: Any) -> Any:
    hidden = [keras.layers.Dense(512, "relu"), keras.layers.Dense(512, "relu")]
    return keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(10, "softmax")])


def _lstm(keras: Any) -> Any:
    return keras.Sequential([keras.Input((64, 16)), keras.layers.LSTM(64), keras.layers.Dense(4, "softmax")])


def _application(name: str, size: int = 224) -> Model:
    return Model(name, name, (1, size, size, 3), lambda keras: getattr(keras.applications, name)(weights=None))


MODELS = (
    Model("mlp", "MLP 784-512-512-10, 32 rows", (32, 784), _mlp),
    Model("lstm", "LSTM(64) over 64 steps of 16, 1 row", (1, 64, 16), _lstm),
    _application("MobileNet"),
    _application("MobileNetV2"),
    _application("EfficientNetB0"),
    _application("EfficientNetB4", 380),
    _application("EfficientNetV2B0"),
    _application("NASNetMobile"),
    _application("DenseNet121"),
    _application("DenseNet201"),
    _application("ResNet50"),
    _application("ResNet50V2"),
    _application("InceptionV3", 299),
    _application("Xception", 299),
    _application("ConvNeXtTiny"),
    _application("MobileNetV3Large"),
)


def prepare(model: Model, folder: Path) -> None:
    """Write ``<name>/1`` with its export, ``<name>.onnx``, and ``<name>.json`` with a request; keep what is there."""
    version = folder / model.name / "1"
    if not (version / "model.keras").is_file():
        _run(sys.executable, "-m", "benchmarks.real_models.catalogue", model.name, str(version))
    if not export_record.is_fresh(version):
        _run(sys.executable, "-m", "export", str(version))
    if not (folder / f"{model.name}.onnx").is_file() and environments.is_installed("onnx-export"):
        python, script = environments.python("onnx-export"), environments.APPS / "onnx-export" / "export.py"
        _run(str(python), str(script), str(version))
        (version / "model.onnx").replace(folder / f"{model.name}.onnx")
    rows = np.random.default_rng(0).random(model.shape).round(_DIGITS)
    (folder / f"{model.name}.json").write_bytes(orjson.dumps({"X": rows}, option=orjson.OPT_SERIALIZE_NUMPY))


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


def _save(name: str, folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    [model] = [model for model in MODELS if model.name == name]
    folder.mkdir(parents=True, exist_ok=True)
    model.make(keras).save(folder / "model.keras")


if __name__ == "__main__":
    _save(sys.argv[1], Path(sys.argv[2]))
