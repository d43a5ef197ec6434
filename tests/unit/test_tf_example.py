"""JSON features as serialized tf.Example, parsed with TensorFlow's own protocol buffers."""

import numpy as np
import pytest

from serving.wire import tf_example
from tests.unit.specs import refused


def read(tf, document):
    """Serialize, and return each example's features as TensorFlow parses them: kind and values by name."""
    examples = []
    for data in tf_example.serialize(document):
        features = tf.train.Example.FromString(data).features.feature
        kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
        examples.append({n: (k and k[:-5], k and list(getattr(features[n], k).value)) for n, k in kinds.items()})
    return examples


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", ("bytes", [b"text"])),
        (["a", "ü"], ("bytes", [b"a", "ü".encode()])),
        ({"b64": "/wA="}, ("bytes", [b"\xff\x00"])),
        ({"b64": "/wA"}, ("bytes", [b"\xff\x00"])),
        ({"b64": " /w\nA = "}, ("bytes", [b"\xff\x00"])),
        ([{"b64": "/wA="}, "b"], ("bytes", [b"\xff\x00", b"b"])),
        (5, ("int64", [5])),
        ([0, -1, 127, 128, 2**63 - 1, -(2**63)], ("int64", [0, -1, 127, 128, 2**63 - 1, -(2**63)])),
        ([True, False], ("int64", [1, 0])),
        ([1, True], ("int64", [1, 1])),
        (0.5, ("float", [0.5])),
        ([1.0, -2.25, float("inf")], ("float", [1.0, -2.25, float("inf")])),
        ([], (None, None)),
    ],
)
def test_the_kind_of_a_feature_follows_from_its_json(tf, value, expected):
    assert read(tf, {"examples": [{"f": value}]}) == [{"f": expected}]


def test_every_example_gets_the_features_of_the_context_and_may_override_them(tf):
    document = {"context": {"c": 1, "o": 2}, "examples": [{"a": 3}, {"o": 4}]}

    assert read(tf, document) == [
        {"c": ("int64", [1]), "o": ("int64", [2]), "a": ("int64", [3])},
        {"c": ("int64", [1]), "o": ("int64", [4])},
    ]


def test_long_values_have_long_lengths(tf):
    assert read(tf, {"examples": [{"f" * 300: "x" * 100_000}]}) == [{"f" * 300: ("bytes", [b"x" * 100_000])}]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "Missing 'examples' key"),
        ({"examples": 5}, "Expecting 'examples' value to be an list/array; got 5."),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [5]}, "Example must be JSON object but got JSON Number, in item 0 of 'examples'"),
        ({"examples": [[{}]]}, "Example must be JSON object but got JSON Array, in item 0 of 'examples'"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array, in 'context'"),
        ({"examples": [{}, {"f": None}]}, "has element with unexpected JSON type: Null, in item 1 of 'examples'"),
        ({"examples": [{"f": [10, None]}]}, 'Feature: "f" has element with unexpected JSON type: Null'),
        ({"examples": [{"f": [[1], 20]}]}, 'Feature: "f" has element with unexpected JSON type: Array'),
        ({"examples": [{"f": [10, 10.0]}]}, 'Feature: "f" has unexpected element 10.0, expecting type: int64'),
        ({"examples": [{"f": [0.5, 1]}]}, "unexpected element 1, expecting type: float"),
        ({"examples": [{"f": ["a", True]}]}, "unexpected element true, expecting type: bytes"),
        ({"examples": [{"f": [10, {"test": 10}]}]}, 'unexpected element {"test": 10}, expecting type: int64'),
        ({"examples": [{"f": {"x": 1}}]}, 'JSON Value: {"x": 1} not formatted correctly for base64 data'),
        *(({"examples": [{"f": {"b64": text}}]}, "Unable to base64 decode") for text in ("a", "/w?A", "=/wA", "/w=A")),
        ({"examples": [{"f": {"b64": "a"}}]}, 'Unable to base64 decode {"b64": "a"}'),
        ({"examples": [{"f": [20, 18446744073709551603]}]}, "Only int64_t is supported"),
        ({"examples": [{"f": "\ud800"}]}, "is not valid Unicode"),
        ({"examples": [{"\ud800": 1}]}, "is not valid Unicode"),
    ],
)
def test_an_invalid_example_is_refused_with_its_place(document, says):
    with refused(says):
        tf_example.serialize(document)


def test_floats_are_rounded_to_float32_and_infinite_beyond_it(tf):
    [features] = read(tf, {"examples": [{"f": [0.1, 1e39, -1e39, float("nan")]}]})

    kind, values = features["f"]
    assert kind == "float"
    assert values[:3] == [np.float32(0.1), np.inf, -np.inf]
    assert np.isnan(values[3])


def test_tensorflow_parses_examples_with_their_context(tf):
    examples = tf_example.serialize({"context": {"c": "q"}, "examples": [{"f": [1.5, 2.5]}, {"f": [4.0, 4.0]}]})

    parsed = tf.io.parse_example(
        examples.tolist(), {"f": tf.io.FixedLenFeature([2], "float32"), "c": tf.io.FixedLenFeature([], "string")}
    )

    assert parsed["f"].numpy().tolist() == [[1.5, 2.5], [4.0, 4.0]]
    assert parsed["c"].numpy().tolist() == [b"q", b"q"]
