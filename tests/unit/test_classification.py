"""Scores to classes: which output, which order, which names, and the two sides of a threshold."""

import json

import numpy as np
import pytest

from serving.errors import PredictionError
from serving.preprocessing.classification import Classifier
from serving.wire import classes
from tests.unit.picture_files import spec

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)
NAMES = ("ant", "bee", "cat")


def test_the_highest_classes_come_first_and_equal_ones_in_their_order():
    body = json.loads(classes.encode({"y": SCORES}, Classifier("y", NAMES), 2, "insects", 3))

    assert body == {
        "predictions": [
            [{"class": "bee", "index": 1, "score": 0.7}, {"class": "cat", "index": 2, "score": 0.2}],
            [{"class": "ant", "index": 0, "score": 0.5}, {"class": "bee", "index": 1, "score": 0.25}],
        ],
        "model": "insects",
        "version": 3,
    }


def test_without_names_a_class_is_its_index_and_there_are_no_more_than_there_are():
    rows = Classifier("y").top({"y": SCORES}, 99)

    assert [[one.name for one in row] for row in rows] == [["1", "2", "0"], ["0", "1", "2"]]


@pytest.mark.parametrize(("threshold", "name"), [(0.5, "dog"), (0.75, "dog"), (0.76, "cat")])
def test_a_threshold_has_two_sides(threshold, name):
    [row] = Classifier("y", ("cat", "dog"), threshold).top({"y": np.array([[0.75]], np.float32)}, 5)

    assert row[0].name == name
    assert {(one.name, one.index, float(one.score)) for one in row} == {("cat", 0, 0.25), ("dog", 1, 0.75)}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_scores_of_every_float_type_are_written(dtype):
    import ml_dtypes

    scores = np.array([[0.25, 0.5]]).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)

    body = json.loads(classes.encode({"y": scores}, Classifier("y"), 1, "any", 1))

    assert body["predictions"] == [[{"class": "1", "index": 1, "score": 0.5}]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_an_error(value):
    with pytest.raises(PredictionError, match="Output 'y' contains NaN or Infinity"):
        Classifier("y").top({"y": np.array([[0, value]], np.float32)}, 1)


@pytest.mark.parametrize(
    ("outputs", "names", "threshold", "found"),
    [
        ({"y": spec(3)}, NAMES, None, ("y", None)),
        ({"y": spec(3), "z": spec(2)}, NAMES, None, ("y", None)),
        ({"y": spec(3), "ids": spec(3, dtype="int64")}, NAMES, None, ("y", None)),
        ({"y": spec(1, 1, 3)}, NAMES, None, ("y", None)),
        ({"y": spec(3)}, (), None, ("y", None)),
        ({"y": spec(1)}, ("cat", "dog"), None, ("y", 0.5)),
        ({"y": spec(1)}, ("cat", "dog"), 0.3, ("y", 0.3)),
        ({"y": spec()}, (), 0.3, ("y", 0.3)),
        ({"y": spec(2)}, ("cat", "dog"), None, ("y", None)),
    ],
)
def test_the_output_with_the_scores_is_found(outputs, names, threshold, found):
    classifier = Classifier.of(outputs, None, names, threshold)

    assert (classifier.output, classifier.threshold) == found


@pytest.mark.parametrize(
    ("outputs", "names", "problem"),
    [
        (
            {"y": spec(3), "z": spec(3)},
            NAMES,
            "of 3 scores for each row; the model has y of 3, z of 3",
        ),
        (
            {"y": spec(3), "z": spec(2)},
            (),
            "with scores for each row; the model has y of 3, z of 2",
        ),
        ({"y": spec(3, dtype="int64")}, (), "expected one output with scores for each row; the model has none"),
        ({"y": spec(None)}, (), "the model has none"),
        ({"y": spec(1)}, (), "output 'y' is one number for each row, which is no class without a threshold"),
    ],
)
def test_a_model_without_scores_is_refused(outputs, names, problem):
    with pytest.raises(ValueError, match=r"^") as caught:
        Classifier.of(outputs, None, names)

    assert problem in str(caught.value)


def test_tritons_strings_are_score_index_and_name():
    tensor = classes.as_tensor({"y": SCORES}, Classifier("y", NAMES), 2)

    assert tensor.tolist() == [[b"0.700000:1:bee", b"0.200000:2:cat"], [b"0.500000:0:ant", b"0.250000:1:bee"]]
    assert classes.as_tensor({"y": SCORES}, Classifier("y"), 1).tolist() == [[b"0.700000:1"], [b"0.500000:0"]]


def test_tensorflow_servings_results_are_all_classes_in_the_models_order():
    body = json.loads(classes.encode_results({"y": SCORES[:1]}, Classifier("y", NAMES)))

    assert body == {"results": [[["ant", 0.1], ["bee", 0.7], ["cat", 0.2]]]}
