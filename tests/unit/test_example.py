"""``example.json``: what is read from it, what an export writes into it, and who uses it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.__main__ import main as export
from serving.engines import litert_library
from serving.engines.errors import InvalidArgumentError
from serving.models import example, trial
from serving.models.export_record import EXAMPLE
from serving.openapi import examples
from serving.preprocessing.fitting import fit
from serving.preprocessing.recipe import Image, Recipe
from tests.unit.picture_files import signature as pictured
from tests.unit.specs import signature, spec
from tools.package import proof
from tools.package.errors import PackageError

TABLE = {"X": spec(shape=(None, 2))}


def read(folder: Path, inputs: Any, **specs: Any) -> dict[str, np.ndarray]:
    (folder / EXAMPLE).write_text(inputs if isinstance(inputs, str) else json.dumps({"inputs": inputs}))
    found = example.read(folder, specs or TABLE) or {}
    return {name: example.array(one, (specs or TABLE)[name]) for name, one in found.items()}


@pytest.mark.parametrize(
    ("one", "value", "expected"),
    [
        (spec(shape=(None, 2)), [[1, 0.5]], [[1, 0.5]]),
        (spec("int32", (None,)), [3, 4], [3, 4]),
        (spec("bool", ()), True, True),
        (spec("string", (None,)), ["é", {"b64": "/9g="}], ["é".encode(), b"\xff\xd8"]),
        (spec(shape=(None, 2, 3)), {"shape": [1, 2, 3]}, [[[0.0] * 3] * 2]),
        (spec("string", (2,)), {"shape": [2]}, [b"", b""]),
    ],
)
def test_the_values_of_the_file_are_the_example(tmp_path, one, value, expected):
    [found] = read(tmp_path, {"x": value}, x=one).values()

    assert (found.tolist(), found.dtype) == (expected, one.dtype)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "Expecting property name"),
        ('{"inputs": 1}', "with X"),
        ({"Y": [[1, 0]]}, "with X"),
        ({"X": [[1, 0], [1]]}, "X: the lists of a level are not of one length"),
        ({"X": [[1, 0, 1]]}, r"X has the shape \[1, 3\]; expected \[\?, 2\]"),
        ({"X": [["1", 0]]}, 'X: expected values of the type float32, got "1"'),
        ({"X": {"shape": [1, 2.0]}}, "X: expected a shape such as"),
        ({"X": {"shape": [10**9, 2]}}, "X has more than 67108864 values"),
        ("[" * 100_000, "recursion|nested"),
        (" " * 2**20 + "{}", "larger than 1048576 bytes"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason(tmp_path, content, says):
    with pytest.raises(ValueError, match=f"{tmp_path / EXAMPLE}: .*({says})"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("dtype", "value"), [("int64", 2**70), ("int8", 300), ("uint8", -1), ("float32", 1e39), ("float32", float("nan"))]
)
def test_a_number_beyond_the_type_is_refused(tmp_path, dtype, value):
    with pytest.raises(ValueError, match=r"int|finite float32"):
        read(tmp_path, {"x": [value]}, x=spec(dtype, (None,)))


def test_many_strings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="x has more than 1048576 strings"):
        read(tmp_path, {"x": {"shape": [2**20 + 1]}}, x=spec("string", (None,)))


def test_a_wrong_file_is_logged_and_the_example_is_a_guess(tmp_path, caplog):
    (tmp_path / EXAMPLE).write_text("{}")

    one = example.described(tmp_path, {"serving_default": signature(**TABLE)})["serving_default"]

    assert f"{tmp_path / EXAMPLE}: expected" in caplog.text
    assert examples.is_guess(one)
    assert examples.instances(one) == {"instances": [[1.0, 0.0], [0.0, 1.0]]}


def test_the_file_is_in_every_format_and_in_the_trial_run(tmp_path):
    (tmp_path / EXAMPLE).write_text('{"inputs": {"X": [[7, 8]]}}')

    one = example.described(tmp_path, {"serving_default": signature(**TABLE)})["serving_default"]

    assert not examples.is_guess(one)
    assert examples.x_labels(one) == {"X": [[7, 8]]}
    assert examples.instances(one) == {"instances": [[7, 8]]}
    assert examples.infer(one)["inputs"][0] == {"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [[7, 8]]}
    feeds, _ = trial.run(one, lambda feeds: None, trial.zeros)
    assert feeds["X"].tolist() == [[7, 8]]


def test_an_input_that_takes_pictures_keeps_its_example(tmp_path):
    (tmp_path / EXAMPLE).write_text('{"inputs": {"x": {"shape": [1, 8, 8, 1]}}}')
    signatures = example.described(tmp_path, {"serving_default": pictured((8, 8, 1))})

    described = fit(Recipe(Image()), signatures).described(signatures)["serving_default"]

    assert described.inputs["x"].decode is not None
    assert not examples.is_guess(described)


def test_strings_that_are_not_text_are_sent_only_where_the_format_can_carry_them(tmp_path):
    (tmp_path / EXAMPLE).write_text('{"inputs": {"x": [{"b64": "/9g="}]}}')

    one = example.described(tmp_path, {"serving_default": signature(x=spec("string", (None,)))})["serving_default"]

    assert examples.instances(one) == {"instances": [{"b64": "/9g="}]}
    assert examples.infer(one) is examples.x_labels(one) is None


def test_a_request_for_large_and_small_inputs_has_the_values_of_the_small_ones(tmp_path):
    (tmp_path / EXAMPLE).write_text('{"inputs": {"a": {"shape": [1, 300]}, "b": [[true]]}}')
    inputs = {"a": spec(shape=(None, 300)), "b": spec("bool", (None, 1))}

    one = example.described(tmp_path, {"serving_default": signature(**inputs)})["serving_default"]

    by_rows, infer = (examples.command(examples.FORMATS[number], one, "URL") for number in (1, 2))
    assert '{"a": [0]*300, "b": [true]}' in by_rows
    assert "true, false = True, False" in by_rows
    assert '"data": [[true]]' in infer
    assert "head -c 1200 /dev/zero" in infer


def test_what_is_written_is_read(tmp_path):
    feeds = {"a": np.array([[b"x", b"\xff"]], object), "b": np.zeros((1, 300), np.float32)}

    example.write(tmp_path, feeds)

    inputs = {"a": spec("string", (None, 2)), "b": spec(shape=(None, 300))}
    found = {name: example.array(one, inputs[name]) for name, one in example.read(tmp_path, inputs).items()}
    assert found["a"].tolist() == feeds["a"].tolist()
    assert found["b"].tolist() == feeds["b"].tolist()
    assert (tmp_path / EXAMPLE).stat().st_size < 100


@pytest.fixture(scope="module")
def text_model() -> Any:
    """A model of variable length that needs 9 steps at least: it has two convolutions and a pool."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((None,), dtype="int32", name="words"),
            layers.Embedding(10, 4),
            layers.Conv1D(4, 5),
            layers.Conv1D(4, 5),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )


@pytest.fixture
def exported(text_model, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(litert_library, "version", lambda: "")
    folder = tmp_path / "text/1"
    folder.mkdir(parents=True)
    text_model.save(folder / "model.keras")
    return folder


def test_an_export_writes_an_example_that_the_model_takes(exported, capsys):
    assert export([str(exported)]) == 0

    [rows] = json.loads((exported / EXAMPLE).read_text())["inputs"].values()
    assert {len(row) for row in rows} == {32}
    assert "WARNING" not in capsys.readouterr().out


def test_an_export_keeps_an_example_that_was_written_by_hand(exported):
    by_hand = json.dumps({"inputs": {"words": [[1, 2, 3, 4, 5, 6, 7, 8, 9]]}}, indent=3)
    (exported / EXAMPLE).write_text(by_hand)

    assert export([str(exported)]) == 0

    assert (exported / EXAMPLE).read_text() == by_hand


def test_an_export_replaces_an_example_that_the_model_refuses(exported, capsys):
    (exported / EXAMPLE).write_text(json.dumps({"inputs": {"words": [[1, 2, 3]]}}))

    assert export([str(exported)]) == 0

    assert "WARNING: the model does not take example.json, which was replaced: " in capsys.readouterr().out
    [rows] = json.loads((exported / EXAMPLE).read_text())["inputs"].values()
    assert {len(row) for row in rows} == {32}


def test_a_saved_model_without_keras_files_is_not_exported_and_says_why(tmp_path, capsys):
    (tmp_path / "saved_model.pb").touch()

    assert export([str(tmp_path)]) == 1

    assert "has a SavedModel and no Keras files. The app serves it as it is" in capsys.readouterr().err


def answer(status: int, is_guess: bool) -> dict[str, Any]:
    return {"request": "POST TfServing text:predict", "status": status, "body": "too short", "is_guess": is_guess}


def test_a_guess_that_a_model_refuses_is_a_warning_and_all_else_is_a_failure():
    assert proof._check([answer(200, True), answer(200, False)]) == []
    [warning] = proof._check([answer(400, True)])
    assert "POST TfServing text:predict was not proven" in warning
    assert "too short" in warning
    for status, is_guess in ((400, False), (500, True)):
        with pytest.raises(PackageError, match="1 of 1 requests failed"):
            proof._check([answer(status, is_guess)])


def test_inputs_for_strings_may_be_pictures():
    from export import saved_model

    def run(feeds: Any) -> Any:
        if not all(value.startswith(b"\x89PNG") for value in feeds["x"].flat):
            raise InvalidArgumentError("not a picture")
        return feeds

    one = signature(x=spec("string", (None,)))
    _, feeds, _ = saved_model.find_inputs(one, run, 3)

    assert saved_model.find_example(one, run, feeds) is feeds
