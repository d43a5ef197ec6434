"""The coverage benchmark: it misses no layer, notices a wrong answer, and reports what it found."""

from importlib import import_module

import numpy as np
import pytest

from benchmarks.coverage import layers, report
from benchmarks.coverage.case import Case, Tensor, WrongError, relative_difference

pytestmark = pytest.mark.slow


def f32(values: object) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_every_public_layer_has_a_row_or_a_reason(library: str) -> None:
    found = layers.cases(import_module(library))

    assert [name for name, case in found.items() if isinstance(case, str) and "missing" in case] == []
    assert {"Dense", "Conv2D", "LSTM", "LSTMCell", "StringLookup"} <= {
        name for name, case in found.items() if isinstance(case, Case)
    }


def test_a_model_is_right_in_every_format_that_its_keras_writes() -> None:
    case = layers.cases(import_module("tf_keras"))["BatchNormalization"]
    assert isinstance(case, Case)

    cells = case.verdicts("tf_keras")

    assert {name: cell.verdict for name, cell in cells.items()} == dict.fromkeys(cells, "right")
    assert len(cells) == 5


def test_an_answer_of_other_weights_is_wrong_and_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(
        lambda keras: keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), (Tensor((2,)),), (".keras",)
    )
    monkeypatch.setattr("benchmarks.coverage.case._answers", lambda model, feeds: [model(feeds[0]).numpy() + 0.01])

    assert case.verdicts("keras")[".keras"].verdict == "wrong"

    code = layers.cases(import_module("keras"))["Lambda"]
    assert isinstance(code, Case)
    cell = code.verdicts("keras")[".keras"]
    assert cell.verdict == "refused"
    assert "export with --allow-lambda" in cell.reason


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (f32([1, 2]), f32([1, 2.001])),
        (f32([1, 2]), np.array([1.0, 2.0])),
        (f32([1, 2]), f32([[1, 2]])),
        (f32([1, np.nan]), f32([1, 2])),
        (f32([np.nan]), f32([np.nan])),
        (np.array([1]), np.array([2])),
        (np.array([b"a"], object), np.array([b"b"], object)),
    ],
    ids=["value", "dtype", "shape", "no number", "no number at all", "whole number", "string"],
)
def test_a_different_answer_is_wrong(got: np.ndarray, expected: np.ndarray) -> None:
    with pytest.raises(WrongError):
        relative_difference(got, expected, 1e-5)


def test_the_report_has_a_row_for_each_model_and_a_note_for_each_reason() -> None:
    right, refused = {"verdict": "right", "reason": ""}, {"verdict": "refused", "reason": "it is a Lambda"}
    text = report.markdown(
        {
            "layers/keras/Dense": {"cells": {".keras": right, ".h5": refused}},
            "layers/tf_keras/Dense": {"cells": {".keras": right}},
            "layers/keras/Layer": {"note": "a base class"},
            "operators/keras/x * 2.0": {"cells": {".keras": right}},
        }
    )

    assert "| Dense | ✓ | refused<sup>1</sup> | ✓ |" in text
    assert "| Layer | not tried<sup>2</sup> |" in text
    assert "1. it is a Lambda" in text
    assert "| Keras 3, every public layer | 1 | 1 |" in text
