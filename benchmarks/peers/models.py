"""``python -m benchmarks.peers.models FOLDER``: write the models in the formats that the peers serve.

For each model: a ``.keras`` and a ``.tflite`` file, and ``ours/<name>/1`` for this app. For each case: an ``.npz`` file
with the ``rows`` to send and the ``labels`` that Keras answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import ROOT
from benchmarks.peers import environments
from benchmarks.peers.environments import SetupError

FOLDER = environments.ENVIRONMENTS / "models"

_XOR = ROOT / "model" / "xor" / "1"
_SEED = 784
_DIGITS = 4  # of the numbers that are sent


@dataclass(frozen=True)
class Case:
    """What is sent: rows for one of the models."""

    name: str
    model: str
    title: str


CASES = (
    Case("xor", "xor", "XOR, 2 rows"),
    Case("mlp-1", "mlp", "MLP, 1 row"),
    Case("mlp-32", "mlp", "MLP, 32 rows"),
    Case("mobilenet", "mobilenet", "MobileNetV2, 1 image"),
)
_SHAPES = {"mlp-1": (1, 784), "mlp-32": (32, 784), "mobilenet": (1, 224, 224, 3)}


def prepare() -> None:
    """Write the models for Keras, this app and LiteRT, in a child process because it imports TensorFlow.

    Raises SetupError.
    """
    _run(sys.executable, "-m", "benchmarks.peers.models", str(FOLDER))


def prepare_onnx() -> None:
    """Convert Keras's models to ONNX, in the environment for that. Raises SetupError."""
    environments.install("onnx-export")
    _run(str(environments.python("onnx-export")), str(environments.APPS / "onnx-export" / "export.py"), str(FOLDER))


def _run(*command: str) -> None:
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    child = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    if child.returncode:
        raise SetupError((child.stderr.strip() or "no reason given").splitlines()[-1])


def _mlp(keras: Any) -> Any:
    keras.utils.set_random_seed(_SEED)
    dense = keras.layers.Dense
    hidden = [dense(512, "relu"), dense(512, "relu")]
    return keras.Sequential([keras.Input((784,), name="X"), *hidden, dense(10, "softmax", name="labels")])


def _xor(keras: Any) -> Any:
    model = keras.models.model_from_json((_XOR / "model.json").read_text(encoding="utf-8"))
    model.load_weights(_XOR / "model.h5")
    return model


def _mobilenet(keras: Any) -> Any:
    keras.utils.set_random_seed(_SEED)
    return keras.applications.MobileNetV2(weights=None, input_tensor=keras.Input((224, 224, 3), name="X"))


def _rows(case: Case) -> np.ndarray:
    if case.name == "xor":
        return np.array([[1, 0], [1, 1]], np.float32)
    return np.random.default_rng(_SEED).random(_SHAPES[case.name]).round(_DIGITS).astype(np.float32)


def _write(folder: Path) -> None:
    import keras
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    for name, make in {"xor": _xor, "mlp": _mlp, "mobilenet": _mobilenet}.items():
        model = make(keras)
        model.save(folder / f"{name}.keras")
        (folder / f"{name}.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        ours = folder / "ours" / name / "1"
        ours.mkdir(parents=True, exist_ok=True)
        model.save(ours / "model.keras")
        subprocess.run([sys.executable, "-m", "export", str(ours)], cwd=ROOT, check=True)
        for case in CASES:
            if case.model == name:
                rows = _rows(case)
                np.savez(folder / f"{case.name}.npz", rows=rows, labels=model.predict(rows, verbose=0))


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
