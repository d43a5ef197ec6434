"""Code of the model's owner: functions for Lambda layers, registered functions and subclassed models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.__main__ import main
from serving.engines.session import load_session
from tests.unit import keras_files

Capture = pytest.CaptureFixture[str]

ROWS = np.array([[1, -1], [2, -3]], np.float32)

MODULE = """
import keras

def triple(x):
    return x * 3

@keras.saving.register_keras_serializable("mine")
def halved(x):
    return x / 2

@keras.saving.register_keras_serializable("mine")
class Sum(keras.Model):
    def __init__(self, **config):
        super().__init__(**config)
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs):
        parts = inputs.values() if isinstance(inputs, dict) else inputs
        return self.dense(sum(parts))
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MODULE)
    return path


@pytest.fixture
def own(module: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the module defines."""
    import runpy

    return runpy.run_path(str(module))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    return path


def refuse(folder: Path, capsys: Capture, *flags: str) -> str:
    assert main([str(folder), *flags]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def answers(folder: Path, feeds: dict[str, np.ndarray], *flags: str) -> list[list[float]]:
    assert main([str(folder), *flags]) == 0
    session = load_session(folder, "auto")
    [(key, signature)] = session.signatures.items()
    assert set(signature.inputs) == set(feeds)
    [answer] = session.run(key, feeds).values()
    session.close()
    result: list[list[float]] = answer.tolist()
    return result


def write_pair(model: Any, folder: Path) -> None:
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / ("model.weights.h5" if model.__module__.startswith("keras") else "model.h5"))


SAVE: dict[str, Callable[[Any, Path], None]] = {
    "pair": write_pair,
    "archive": lambda model, folder: model.save(folder / "model.keras"),
    "whole h5": lambda model, folder: model.save(folder / "model.h5"),
}


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("files", SAVE)
def test_a_lambda_layer_calls_the_function_of_its_name_instead_of_its_code(
    folder: Path, module: Path, library: str, files: str
) -> None:
    keras = __import__(library)
    layer = keras.layers.Lambda(lambda x: x * 100, name="triple", output_shape=(2,))
    SAVE[files](keras.Sequential([keras.Input((2,), name="x"), layer]), folder)

    assert answers(folder, {"x": ROWS}, "--custom-objects", str(module)) == (ROWS * 3).tolist()


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_lambda_layer_of_a_named_function_is_found_by_that_name(
    folder: Path, module: Path, library: str, capsys: Capture
) -> None:
    keras = __import__(library)
    layer = keras.layers.Lambda(keras.activations.relu, name="by_three")
    model = keras.Sequential([keras.Input((2,), name="x"), layer])
    of_keras3 = {"class_name": "function", "config": "triple", "module": "builtins", "registered_name": "function"}
    written = json.loads(model.to_json())
    config = written["config"]["layers"][-1]["config"]
    config |= {"function": of_keras3} if library == "keras" else {"function": "triple", "function_type": "function"}
    write_pair(model, folder)
    (folder / "model.json").write_text(json.dumps(written))

    assert "layer 'by_three' uses the custom object 'triple'" in refuse(folder, capsys, "--allow-lambda")
    assert answers(folder, {"x": ROWS}, "--custom-objects", str(module)) == (ROWS * 3).tolist()


# lambda x: x * 3, marshalled by Python 3.6 and 2.7, the latter as Keras 1 wrote it.
OF_PYTHON_3_6 = (
    "4wEAAAAAAAAAAQAAAAIAAABDAAAAcwgAAAB8AGQBFABTACkCTukDAAAAqQApAdoBeHICAAAAcgIAAADaCDxzdHJpbmc+2gg8bGFtYmRhPgMA"
    "AABzAAAAAA=="
)
OF_PYTHON_2_7 = "c\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00C\x00\x00\x00s\x08\x00\x00\x00|\x00\x00d\x01\x00\x14S"


@pytest.mark.parametrize("code", [OF_PYTHON_3_6, OF_PYTHON_2_7, "no code"], ids=["3.6", "2.7", "other"])
def test_code_of_another_python_is_refused_with_the_way_that_works(
    folder: Path, module: Path, code: str, capsys: Capture
) -> None:
    config: keras_files.Config = {
        "name": "triple",
        "batch_input_shape": [None, 2],
        "function": [code, None, None],
        "arguments": {},
    }
    config |= {"function_type": "lambda", "output_shape": None, "output_shape_type": "raw"}
    layer = {"class_name": "Lambda", "config": config}
    keras_files.write_pair(folder, keras_files.sequential(layer, keras_version="2.2.4"), {}, "2.2.4")

    error = refuse(folder, capsys, "--allow-lambda")

    assert "layer 'triple' is a Lambda whose code was written by another version of Python" in error
    assert "Define a function named 'triple' in a module of yours" in error
    assert answers(folder, {"triple_input": ROWS}, "--custom-objects", str(module)) == (ROWS * 3).tolist()


def test_a_lambda_layer_with_a_mask_of_its_own_keeps_its_code(folder: Path, module: Path, capsys: Capture) -> None:
    import tf_keras

    layer = tf_keras.layers.Lambda(lambda x: x, name="triple", mask=lambda x, mask: mask)
    SAVE["whole h5"](tf_keras.Sequential([tf_keras.Input((2,)), layer]), folder)

    assert "layer 'triple' is a Lambda" in refuse(folder, capsys, "--custom-objects", str(module))


def test_a_function_of_a_registered_name_is_the_owners(folder: Path, module: Path, own: Any, capsys: Capture) -> None:
    import keras

    layers = [keras.layers.Activation(own["halved"]), keras.layers.Dense(1, activation=own["halved"], name="dense")]
    SAVE["archive"](keras.Sequential([keras.Input((2,), name="x"), *layers]), folder)

    assert "uses the custom object 'halved'" in refuse(folder, capsys)
    assert answers(folder, {"x": ROWS * 0}, "--custom-objects", str(module)) == [[0], [0]]


def test_a_registered_function_is_not_mistaken_for_keras_s_own_of_that_name(folder: Path, capsys: Capture) -> None:
    layer = keras_files.keras2_dense("dense_1", 2, 2)
    layer["config"]["activation"] = "mine>relu"
    keras_files.write_pair(folder, keras_files.sequential(layer, keras_version="2.13.1"), {}, "2.13.1")

    assert "layer 'dense_1' uses the custom object 'relu'" in refuse(folder, capsys)


@pytest.mark.parametrize(
    ("inputs", "feeds"),
    [
        ([ROWS, ROWS], {"input_0": ROWS, "input_1": ROWS}),
        ({"left": ROWS, "right": ROWS}, {"left": ROWS, "right": ROWS}),
    ],
    ids=["list", "dict"],
)
def test_a_subclassed_model_of_several_inputs_has_their_names(
    folder: Path, module: Path, own: Any, inputs: Any, feeds: dict[str, np.ndarray]
) -> None:
    model = own["Sum"]()
    model(inputs)
    SAVE["archive"](model, folder)

    assert answers(folder, feeds, "--custom-objects", str(module)) == [[0], [-2]]


def test_json_that_was_written_twice_is_read(folder: Path) -> None:
    keras_files.write_xor_of_2017(folder)
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(json.dumps(text))

    assert main([str(folder)]) == 0
