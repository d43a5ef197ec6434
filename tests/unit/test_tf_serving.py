"""TensorFlow Serving's REST format, case by case; the cases of its own tests are listed in docs/tf_serving.md."""

import json

import numpy as np
import pytest

from serving.errors import BadRequestError
from serving.signature import Signature
from serving.wire import tf_serving, tf_serving_server
from serving.wire.tf_serving_server import Route, VersionEntry
from tests.unit.specs import signature, spec

ONE = {"serving_default": signature(x=spec())}
TWO = {"serving_default": signature(a=spec(shape=(None,)), b=spec("string", (None, 2)))}


def body(**members):
    return json.dumps(members).encode()


def decode(signatures=ONE, **members):
    return tf_serving.decode_predict(body(**members), signatures)


def feed(dtype, value, shape=(None,), key="instances"):
    return decode({"serving_default": signature(x=spec(dtype, shape))}, **{key: value}).feeds["x"]


# --- rows and columns ---


@pytest.mark.parametrize(
    ("signatures", "members", "by_rows", "expected"),
    [
        pytest.param(ONE, {"instances": [[1, 2], [3, 4]]}, True, {"x": [[1, 2], [3, 4]]}, id="rows, name omitted"),
        pytest.param(ONE, {"instances": [{"x": [1, 2]}]}, True, {"x": [[1, 2]]}, id="rows, one name given"),
        pytest.param(
            TWO,
            {"instances": [{"a": 1, "b": ["p", "q"]}, {"b": ["r", "s"], "a": 2}]},
            True,
            {"a": [1, 2], "b": [[b"p", b"q"], [b"r", b"s"]]},
            id="rows of several inputs, in any order",
        ),
        pytest.param(ONE, {"inputs": [[1, 2], [3, 4]]}, False, {"x": [[1, 2], [3, 4]]}, id="columns, name omitted"),
        pytest.param(ONE, {"inputs": {"x": [[1, 2]]}}, False, {"x": [[1, 2]]}, id="columns, one name given"),
        pytest.param(
            TWO,
            {"inputs": {"a": [1, 2, 3], "b": [["p", "q"]]}},
            False,
            {"a": [1, 2, 3], "b": [[b"p", b"q"]]},
            id="columns of several inputs, of other lengths",
        ),
        pytest.param(
            {"serving_default": signature(x=spec(shape=()))}, {"inputs": 5}, False, {"x": 5}, id="columns, a scalar"
        ),
    ],
)
def test_a_request_goes_by_rows_or_by_columns(signatures, members, by_rows, expected):
    request = decode(signatures, **members)

    assert request.by_rows == by_rows
    assert {name: array.tolist() for name, array in request.feeds.items()} == expected


def test_a_signature_is_chosen_by_its_name():
    signatures = {**ONE, "other": signature(y=spec())}

    request = decode(signatures, signature_name="other", instances=[[1, 2]])

    assert request.signature == "other"
    assert list(request.feeds) == ["y"]
    assert decode(signatures, signature_name="", instances=[[1, 2]]).signature == "serving_default"


@pytest.mark.parametrize(
    ("signatures", "content", "says"),
    [
        pytest.param(ONE, b"", "not JSON", id="no body"),
        pytest.param(ONE, b"{", "not JSON", id="cut off"),
        pytest.param(ONE, b"[[1, 2]]", "not an object", id="a list"),
        pytest.param(ONE, b"{}", "Missing 'inputs' or 'instances' key", id="neither key"),
        pytest.param(ONE, body(instances=[[1, 2]], inputs=[[1, 2]]), "only one of", id="both keys"),
        pytest.param(ONE, body(signature_name=5, instances=[[1, 2]]), "must be a string", id="signature_name: number"),
        pytest.param(
            ONE, body(signature_name="no", instances=[]), '"no" not found in signature def', id="no signature"
        ),
        pytest.param(ONE, body(instances={"x": 1}), "'instances' to be a list", id="instances: object"),
        pytest.param(ONE, body(instances=[]), "No values in 'instances'", id="no instances"),
        pytest.param(TWO, body(instances=[1, 2]), "is a plain list; expected a list of objects with a, b", id="plain"),
        pytest.param(TWO, body(instances=[{"a": 1}]), "has the keys a; they must be a, b", id="a key is missing"),
        pytest.param(
            ONE, body(instances=[{"x": [1, 2], "z": 1}]), "has the keys x, z; they must be x", id="a key too many"
        ),
        pytest.param(
            ONE, body(instances=[[1, 2], {"x": [1, 2]}]), "Expecting value or list but got object at item 1", id="mixed"
        ),
        pytest.param(
            ONE, body(instances=[{"x": [1, 2]}, [1, 2]]), "Expecting object but got value at item 1", id="mixed too"
        ),
        pytest.param(TWO, body(inputs=[1, 2]), "'inputs' is a plain value; expected an object", id="plain columns"),
        pytest.param(TWO, body(inputs={"a": [1]}), "Missing named input: b in 'inputs' object", id="column missing"),
        pytest.param(ONE, body(instances=[[1, 2], [3]]), "x: expected 2 columns, got 1, in row 2", id="ragged"),
        pytest.param(ONE, body(instances=[[1, [2]]]), "expected a number, got [2], in row 1, column 2", id="too deep"),
        pytest.param(ONE, body(instances=[1, 2]), "2 levels of lists", id="too flat"),
        pytest.param(ONE, body(instances=[[1, None]]), "got null, in row 1, column 2", id="null"),
    ],
)
def test_a_request_that_is_not_formatted_correctly_is_refused(signatures, content, says):
    with pytest.raises(BadRequestError) as caught:
        tf_serving.decode_predict(content, signatures)

    assert says in str(caught.value)


# --- types ---


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [1, 2.5, -1e30]),
        ("float64", [1, 0.1, 1e300]),
        ("float16", [1, 0.5, -2]),
        ("bfloat16", [1, 0.5, -2]),
        ("int8", [-128, 127]),
        ("int16", [-(2**15), 2**15 - 1]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint8", [0, 255]),
        ("uint16", [0, 2**16 - 1]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
    ],
)
def test_values_of_every_type_come_back_as_they_went(dtype, values):
    array = feed(dtype, values)

    [back] = json.loads(tf_serving.encode_predict({"y": array}, by_rows=False)).values()
    assert array.dtype == spec(dtype).dtype
    assert np.array_equal(np.array(back, array.dtype), array)
    if array.dtype.kind in "iub":
        assert back == values


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", 1.5),
        ("int32", 2**31),
        ("int64", 2**63),
        ("uint8", 256),
        ("uint64", -1),
        ("int32", True),
        ("float32", True),
        ("float32", "1"),
        ("float32", 1e39),
        ("bool", 1),
        ("string", 1),
        ("string", {"b64": 1}),
        ("string", {"b64": "a"}),
        ("string", {"b64": "AA==", "x": 1}),
        ("float32", {"b64": "AA=="}),
    ],
)
def test_a_value_of_another_type_is_refused(dtype, value):
    with pytest.raises(BadRequestError, match="in row 1"):
        feed(dtype, {"x": [value]}, key="inputs")


def test_the_bare_nan_and_infinities_are_numbers_both_ways():
    request = tf_serving.decode_predict(b'{"inputs": [[NaN, Infinity], [-Infinity, 0.5]]}', ONE)

    values = request.feeds["x"]
    assert np.array_equal(values, np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32), equal_nan=True)
    text = tf_serving.encode_predict({"y": values}, by_rows=False)
    assert text == b'{"outputs": [[NaN, Infinity], [-Infinity, 0.5]]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", b"plain"),
        ("grün", "grün".encode()),
        ({"b64": "/wA="}, b"\xff\x00"),
        ({"b64": "_wA"}, b"\xff\x00"),
        ("", b""),
    ],
)
def test_strings_come_as_text_or_base64(value, expected):
    assert feed("string", [value]).tolist() == [expected]
    assert decode({"serving_default": signature(x=spec("string", ()))}, inputs=value).feeds["x"].item() == expected


# --- answers ---


@pytest.mark.parametrize(
    ("outputs", "by_rows", "expected"),
    [
        ({"y": np.array([[0.2], [1]], np.float32)}, True, {"predictions": [[0.2], [1.0]]}),
        ({"y": np.array([[0.2], [1]], np.float32)}, False, {"outputs": [[0.2], [1.0]]}),
        (
            {"p": np.array([1, 2]), "q": np.array([[0.5], [0.25]])},
            True,
            {"predictions": [{"p": 1, "q": [0.5]}, {"p": 2, "q": [0.25]}]},
        ),
        ({"p": np.array([1, 2]), "q": np.array([0.5])}, False, {"outputs": {"p": [1, 2], "q": [0.5]}}),
        ({"y": np.array(7)}, False, {"outputs": 7}),
        ({"y": np.array([b"a", "ü".encode()], object)}, True, {"predictions": ["a", "ü"]}),
        ({"y_bytes": np.array([[b"\xff\x00"]], object)}, True, {"predictions": [[{"b64": "/wA="}]]}),
        ({"y": np.zeros((0, 1), np.float32)}, True, {"predictions": []}),
    ],
    ids=["rows", "columns", "rows of two", "columns of two", "scalar", "strings", "bytes", "no rows"],
)
def test_answers_have_the_form_that_was_asked_for(outputs, by_rows, expected):
    assert json.loads(tf_serving.encode_predict(outputs, by_rows)) == expected


def test_floats_are_as_short_as_float32_allows_in_rows_of_several_outputs_too():
    outputs = {"p": np.array([[0.1]], np.float32), "q": np.array([0.2], np.float32)}

    assert tf_serving.encode_predict(outputs, by_rows=True) == b'{"predictions": [{"p": [0.1], "q": 0.2}]}'


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"y": np.array(7)}, "has no rows"),
        ({"p": np.zeros(2), "q": np.zeros(3)}, "inconsistent batch size: 3, expecting 2"),
    ],
)
def test_outputs_that_share_no_rows_can_only_go_by_columns(outputs, says):
    with pytest.raises(BadRequestError, match=says):
        tf_serving.encode_predict(outputs, by_rows=True)


# --- classify and regress ---


def test_classifications_pair_labels_with_scores():
    outputs = {
        "classes": np.array([[b"cat", b"dog"]], object),
        "scores": np.array([[0.75, 0.25]], np.float32),
    }

    assert json.loads(tf_serving.encode_classification(outputs)) == {"results": [[["cat", 0.75], ["dog", 0.25]]]}
    assert json.loads(tf_serving.encode_classification({"scores": outputs["scores"]})) == {
        "results": [[["", 0.75], ["", 0.25]]]
    }


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_regressions_are_one_value_an_example(shape):
    outputs = {"outputs": np.array([0.5, 2], np.float32).reshape(shape)}

    assert json.loads(tf_serving.encode_regression(outputs)) == {"results": [0.5, 2.0]}


@pytest.mark.parametrize("encode", [tf_serving.encode_classification, tf_serving.encode_regression])
def test_outputs_that_are_no_such_result_are_refused(encode):
    with pytest.raises(BadRequestError, match="got y"):
        encode({"y": np.zeros((2, 2))})


def test_examples_need_a_signature_of_their_method():
    with pytest.raises(BadRequestError, match="to have the method_name tensorflow/serving/classify"):
        tf_serving.decode_examples(body(examples=[{}]), ONE, tf_serving.CLASSIFY)


def test_examples_go_to_the_one_input_of_the_signature():
    inputs = {"inputs": spec("string", (None,))}
    signatures = {"serving_default": Signature(inputs, {}, tf_serving.REGRESS)}

    request = tf_serving.decode_examples(body(examples=[{"a": 1}, {"a": 2}]), signatures, tf_serving.REGRESS)

    assert request.feeds["inputs"].shape == (2,)


# --- beside predictions ---


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("xor:predict", Route("xor", None, None, "predict")),
        ("xor/versions/3:predict", Route("xor", 3, None, "predict")),
        ("xor/versions/00000123:classify", Route("xor", 123, None, "classify")),
        ("xor/labels/stable:regress", Route("xor", None, "stable", "regress")),
        ("my-model.v2:predict", Route("my-model.v2", None, None, "predict")),
        ("xor", Route("xor", None, None, "status")),
        ("xor/versions/3", Route("xor", 3, None, "status")),
        ("xor/metadata", Route("xor", None, None, "metadata")),
        ("xor/versions/3/metadata", Route("xor", 3, None, "metadata")),
        ("xor/labels/stable/metadata", Route("xor", None, "stable", "metadata")),
        ("", None),
        ("xor:explain", None),
        ("xor/versions/x:predict", None),
        ("xor/versions/3/labels/a:predict", None),
        ("a/b:predict", None),
        ("xor:predict/", None),
    ],
)
def test_paths_are_read_by_the_grammar(path, route):
    assert tf_serving_server.parse_path(path) == route


def test_a_status_names_every_version_and_what_kserve_looks_for():
    entries = [VersionEntry(2, "END", "DataLossError; the log says why"), VersionEntry(1, "AVAILABLE")]

    assert json.loads(tf_serving_server.status("xor", True, entries)) == {
        "name": "xor",
        "ready": True,
        "model_version_status": [
            {
                "version": "2",
                "state": "END",
                "status": {"error_code": "UNKNOWN", "error_message": "DataLossError; the log says why"},
            },
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        ],
    }


def test_metadata_tell_tensors_as_tensorflow_does():
    signatures = {
        "serving_default": signature(x=spec(shape=(None, 2)), half=spec("float16", None), n=spec("int64", ()))
    }

    metadata = json.loads(tf_serving_server.metadata("xor", 1, signatures))

    assert metadata["model_spec"] == {"name": "xor", "signature_name": "", "version": "1"}
    inputs = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    dimensions = [{"size": "-1", "name": ""}, {"size": "2", "name": ""}]
    shape = {"dim": dimensions, "unknown_rank": False}
    assert inputs["x"] == {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "x:0"}
    assert inputs["half"]["dtype"] == "DT_HALF"
    assert inputs["half"]["tensor_shape"] == {"dim": [], "unknown_rank": True}
    assert (inputs["n"]["dtype"], inputs["n"]["tensor_shape"]) == ("DT_INT64", {"dim": [], "unknown_rank": False})


def test_errors_are_objects_with_one_member():
    assert json.loads(tf_serving_server.error_body('a "quoted" word')) == {"error": 'a "quoted" word'}
