"""JSON features as serialized tf.Example, read back with TensorFlow's own protocol buffers."""

import pytest

from serving.errors import BadRequestError
from serving.wire import tf_example


def read(tf, document):
    """Serialize, and return each example's features as TensorFlow reads them: kind and values by name."""
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
        ({"examples": {}}, "to be a list of at least one example"),
        ({"examples": []}, "to be a list of at least one example"),
        ({"examples": [5]}, "Example must be a JSON object; item 0 of 'examples' is none"),
        ({"examples": [{}], "context": []}, "Example must be a JSON object; context is none"),
        ({"examples": [{}, {"f": None}]}, "feature 'f' of item 1 of 'examples' holds a list in a list, or null"),
        ({"examples": [{"f": [[1]]}]}, "holds a list in a list"),
        ({"examples": [{"f": [1, "a"]}]}, "mixes bytes and int64 values"),
        ({"examples": [{"f": [1, 0.5]}]}, "mixes float and int64 values"),
        ({"examples": [{"f": {"b64": "a"}}]}, 'an object that is not {"b64": ...} of base64'),
        ({"examples": [{"f": {"x": 1}}]}, 'an object that is not {"b64": ...} of base64'),
        ({"examples": [{"f": 2**63}]}, "beyond int64"),
        ({"examples": [{"f": 1e39}]}, "beyond float"),
    ],
)
def test_what_makes_no_example_is_refused_with_its_place(document, says):
    with pytest.raises(BadRequestError) as caught:
        tf_example.serialize(document)

    assert says in str(caught.value)
