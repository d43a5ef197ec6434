"""TensorFlow Serving's REST format, case by case; the cases of its own tests are listed in docs/tf_serving.md."""

import json

import numpy as np
import pytest

from serving.engines.signature import Signature, TensorSpec
from serving.errors import BadRequestError
from serving.status import State, VersionStatus
from serving.wire import tf_serving, tf_serving_status
from serving.wire.tf_serving_status import Route
from tests.unit.specs import refused, signature, spec

ONE = {"serving_default": signature(x=spec())}
TWO = {"serving_default": signature(a=spec(shape=(None,)), b=spec("string", (None, 2)))}
ANY_SHAPE = {"serving_default": signature(x=spec(shape=None))}


def nested(levels):
    return [nested(levels - 1)] if levels else 1.0


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

    assert (request.signature, request.by_rows) == ("serving_default", by_rows)
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
        (ONE, b"", "not JSON"),
        (ONE, b"{", "not JSON"),
        (ONE, b"[[1, 2]]", "a list of 1 Is not object"),
        (ONE, b"{}", "Missing 'inputs' or 'instances' key"),
        (ONE, body(instances=[[1, 2]], inputs=[[1, 2]]), "only one of"),
        (ONE, body(signature_name=5, instances=[[1, 2]]), "JSON Value: 5: 'signature_name' key must be a string value"),
        (ONE, body(signature_name="no", instances=[]), '"no" not found in signature def; it has: serving_default.'),
        ({}, body(signature_name="no", instances=[]), '"no" not found in signature def; it has: none.'),
        (ONE, body(instances={"x": 1}), "Expecting 'instances' to be an list/array; got {\"x\": 1}."),
        (ONE, body(instances=[]), "No values in 'instances'"),
        (TWO, body(instances=[1, 2]), "instances is a plain list, but expecting list of objects with the inputs a, b."),
        (TWO, body(instances=[{"a": "x", "b": ["p", "q"]}]), 'a: JSON Value: "x" Type: String is not of expected type'),
        (
            TWO,
            body(instances=[{"a": 1}]),
            "element: 0 of 'instances' list. JSON object: {\"a\": 1} keys must be equal to: a,b",
        ),
        (ONE, body(instances=[{"x": [1, 2], "z": 1}]), "keys must be equal to: x."),
        (ONE, body(instances=[[1, 2], {"x": [1, 2]}]), "Expecting value/list but got object at item 1"),
        (ONE, body(instances=[{"x": [1, 2]}, ["x"]]), "Expecting object but got list at item 1"),
        (ONE, body(instances=[{"x": [1, 2]}, 5]), "Expecting object but got value at item 1"),
        (TWO, body(inputs=[1, 2]), "inputs is a plain value/list, but expecting an object with the inputs a, b."),
        (TWO, body(inputs={"a": [1]}), "Missing named input: b in 'inputs' object"),
        (ONE, body(instances=[[1, 2], [3]]), "x: expected 2 columns, got 1, in row 2"),
        (
            ONE,
            body(instances=[[1, [2]]]),
            "JSON Value: [2] Type: Array is not of expected type: float, in row 1, column 2",
        ),
        (ONE, body(instances=[1, 2]), "x: expected float of shape [?, 2], got shape [2]."),
        (ONE, body(instances=[[1, 2, 3]]), "x: expected float of shape [?, 2], got shape [1, 3]."),
        (ONE, body(instances=[[[1, 2]]]), "expected float of shape [?, 2], got shape [1, 1, 2]"),
        (ONE, body(instances=[[1, None]]), "JSON Value: null Type: Null is not of expected"),
        (ONE, body(inputs=None), "x: expected float of shape [?, 2], got shape []"),
        (ONE, body(inputs={"b64": "AA=="}), "got shape []"),
        (TWO, body(instances=[{"b64": "AA=="}]), "is a plain list"),
        ({"serving_default": signature()}, body(inputs=1), "Failed to get input map"),
        (ANY_SHAPE, body(inputs=nested(65)), "at most 64 levels of lists"),
        (ANY_SHAPE, body(instances=[1, [1]]), "JSON Value: [1] Type: Array"),
        (ANY_SHAPE, body(instances=[[1, 2], [3]]), "expected 2 columns, got 1, in row 2"),
    ],
)
def test_a_request_that_is_not_formatted_correctly_is_refused(signatures, content, says):
    with refused(says):
        tf_serving.decode_predict(content, signatures)


def test_lists_may_be_nested_as_deep_as_numpy_can():
    assert decode(ANY_SHAPE, inputs=nested(64)).feeds["x"].shape == (1,) * 64


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
def test_values_of_every_type_survive_a_round_trip(dtype, values):
    array = feed(dtype, values)

    [result] = json.loads(tf_serving.encode_predict({"y": array}, by_rows=False)).values()
    assert array.dtype == spec(dtype).dtype
    assert np.array_equal(np.array(result, array.dtype), array)
    if array.dtype.kind in "iub":
        assert result == values


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
        ("float32", 10**400),
        ("bool", 1),
        ("int8", 128),
        ("uint32", -1),
        ("string", "\ud800"),
        ("string", 1),
        ("string", {"b64": 1}),
        ("string", {"b64": "a"}),
        ("string", {"b64": "AA==", "x": 1}),
        ("float32", {"b64": "AA=="}),
    ],
)
def test_a_value_of_another_type_is_refused(dtype, value):
    with pytest.raises(BadRequestError, match=r"x: .*in row 1"):
        feed(dtype, {"x": [value]}, key="inputs")


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        ("float32", {"a": 1}, 'x: JSON Value: {"a": 1} Type: Object is not of expected type: float, in row 1.'),
        ("float64", "a", 'x: JSON Value: "a" Type: String is not of expected type: double, in row 1.'),
        ("int32", 1.5, "x: JSON Value: 1.5 Type: Number is not of expected type: int32, in row 1."),
        ("float16", True, "x: JSON Value: true Type: True is not of expected type: half, in row 1."),
        ("string", {"c": 1}, 'x: JSON Value: {"c": 1} not formatted correctly for base64 data, in row 1.'),
        ("string", {"b64": "?"}, 'x: Unable to base64 decode {"b64": "?"}, in row 1.'),
        ("int8", 300, "x: expected an int8, got 300, in row 1."),
    ],
)
def test_an_error_has_the_input_the_value_the_expected_type_and_the_place(dtype, value, says):
    with pytest.raises(BadRequestError) as caught:
        feed(dtype, [value], key="inputs")

    assert str(caught.value) == says
    assert caught.value.extra == {"input": "x", "row": 1}


def test_complex_numbers_are_neither_accepted_nor_returned():
    complex64 = np.dtype(np.complex64)
    inputs = {"x": TensorSpec("x:0", 8, complex64, "complex64", (None,))}

    with pytest.raises(BadRequestError, match="x: no JSON value can be converted to type: complex64"):
        decode({"serving_default": Signature(inputs, {}, "tensorflow/serving/predict")}, instances=[1])
    with pytest.raises(BadRequestError, match="Failed to write JSON value for tensor type: complex64"):
        tf_serving.encode_predict({"y": np.zeros(2, complex64)}, by_rows=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1435774380", 1435774336.0),
        ("1435774380.0", 1435774336.0),
        ("1.7976931348623157e308", np.inf),
        ("-1.7976931348623157e308", -np.inf),
        ("2.2250738585072014e-308", 0.0),
        ("1e400", np.inf),
        ("1" + "0" * 30, np.float32(1e30)),
        ("-0", 0.0),
    ],
)
def test_numbers_are_rounded_to_float32_and_infinite_beyond_it(text, expected):
    request = tf_serving.decode_predict(b'{"inputs": [[%s, 0]]}' % text.encode(), ONE)

    assert request.feeds["x"][0, 0] == expected


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of signalling NaNs
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_every_returned_float_can_be_sent_again(dtype):
    bits = np.random.default_rng(0).integers(0, 256, 8 * 4000, np.uint8)
    values = bits.view(spec(dtype).dtype)[:4000].reshape(-1, 2)

    assert_round_trip(values, dtype)
    assert_round_trip(np.nan_to_num(values.astype(np.float64), posinf=1, neginf=-1).astype(values.dtype), dtype)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_every_returned_whole_number_can_be_sent_again(dtype):
    bits = np.random.default_rng(0).integers(0, 256, 8 * 1000, np.uint8)

    assert_round_trip(bits.view(dtype)[:1000].reshape(-1, 2), dtype)


def test_every_returned_text_and_byte_can_be_sent_again():
    texts = [chr(code).encode() for code in range(0x800) if not 0xD800 <= code < 0xE000]
    assert_round_trip(np.array(texts, object).reshape(-1, 2), "string")
    every_byte = [bytes([first, second]) for first in range(256) for second in range(0, 256, 5)]
    assert_round_trip(np.array(every_byte, object).reshape(-1, 2), "string", output="y_bytes")


def assert_round_trip(values, dtype, output="y"):
    """Encode values by rows and by columns, alone and beside a second output, and decode the results."""
    values.flags.writeable = False
    signatures = {"serving_default": signature(x=spec(dtype), z=spec("bool", (None,)))}
    others = np.arange(len(values)) % 2 == 0
    alone = tf_serving.encode_predict({output: values}, by_rows=True).replace(b"predictions", b"inputs", 1)
    several = {output: values, "z": others}
    rows = tf_serving.encode_predict(several, by_rows=True).replace(b'{"predictions"', b'{"instances"', 1)
    columns = tf_serving.encode_predict(several, by_rows=False).replace(b'{"outputs"', b'{"inputs"', 1)
    results = [tf_serving.decode_predict(alone, {"serving_default": signature(x=spec(dtype))}).feeds["x"]]
    for text in (rows, columns):
        feeds = tf_serving.decode_predict(text.replace(b'"%s":' % output.encode(), b'"x":'), signatures).feeds
        assert np.array_equal(feeds["z"], others)
        results.append(feeds["x"])
    for result in results:
        assert result.dtype == values.dtype
        assert np.array_equal(result, values, equal_nan=values.dtype.kind in "fV")


@pytest.mark.parametrize(("shape", "expected"), [((None, 2), (0, 2)), ((None, None, 3), (0, 0, 3)), (None, (0,))])
def test_below_an_empty_list_sizes_are_those_of_the_signature(shape, expected):
    assert feed("float32", [], shape, key="inputs").shape == expected


def test_unknown_members_are_ignored():
    assert decode(instances=[[1, 2]], nested=nested(50)).feeds["x"].shape == (1, 2)
    assert list(decode(inputs={"x": [[1, 2]], "y": 1}).feeds) == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        b'{"instances": [[1, 2]]} x',
        b'{"instances": [[Inf, 2]]}',
        b'{"inputs": "\xff"}',
        b'{"instances": [[1, 2]], "nested": ' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    ],
    ids=["more behind it", "Inf", "not UTF-8", "500,000 levels"],
)
def test_invalid_json_is_refused_even_if_rapidjson_accepts_it(text):
    with pytest.raises(BadRequestError, match=r"not JSON|nested too deeply"):
        tf_serving.decode_predict(text, ONE)


def test_bare_nan_and_infinities_are_accepted_and_returned():
    request = tf_serving.decode_predict(b'{"inputs": [[NaN, Infinity], [-Infinity, 0.5]]}', ONE)

    values = request.feeds["x"]
    assert np.array_equal(values, np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32), equal_nan=True)
    text = tf_serving.encode_predict({"y": values}, by_rows=False)
    assert text == b'{"outputs":[[NaN,Infinity],[-Infinity,0.5]]}'


def test_a_large_answer_with_nan_is_written_in_pieces_that_make_one_list():
    values = np.random.default_rng(0).standard_normal((20_000, 3)).astype(np.float32)
    values[[7, 19_999], 1] = np.nan, -np.inf

    text = tf_serving.encode_predict({"y": values}, by_rows=True)

    np.testing.assert_array_equal(np.array(json.loads(text)["predictions"], np.float32), values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", b"plain"),
        ("grün", "grün".encode()),
        ({"b64": "/wA="}, b"\xff\x00"),
        ({"b64": "/wA"}, b"\xff\x00"),
        ({"b64": " /w A=\n"}, b"\xff\x00"),
        ("", b""),
    ],
)
def test_strings_come_as_text_or_base64(value, expected):
    assert feed("string", [value]).tolist() == [expected]
    assert decode({"serving_default": signature(x=spec("string", ()))}, inputs=value).feeds["x"].item() == expected


@pytest.mark.parametrize("text", ["/wA==", "/wA=A", "_wA=", "/", "/wA====", "ü"])
def test_invalid_base64_is_refused(text):
    with pytest.raises(BadRequestError, match="Unable to base64 decode"):
        feed("string", [{"b64": text}])


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
        ({"y": np.array(b"a\0", object)}, False, {"outputs": "a\0"}),
        ({"y": np.array([b"a", "ü".encode()], object)}, True, {"predictions": ["a", "ü"]}),
        ({"y_bytes": np.array([[b"\xff\x00"]], object)}, True, {"predictions": [[{"b64": "/wA="}]]}),
        ({"y": np.zeros((0, 1), np.float32)}, True, {"predictions": []}),
    ],
    ids=["rows", "columns", "rows of two", "columns of two", "scalar", "scalar string", "strings", "bytes", "no rows"],
)
def test_answers_have_the_requested_form(outputs, by_rows, expected):
    assert json.loads(tf_serving.encode_predict(outputs, by_rows)) == expected


def test_floats_are_as_short_as_float32_allows_in_rows_of_several_outputs_too():
    outputs = {"p": np.array([[0.1]], np.float32), "q": np.array([0.2], np.float32)}

    assert tf_serving.encode_predict(outputs, by_rows=True) == b'{"predictions":[{"p":[0.1],"q":0.2}]}'


def test_rows_of_several_outputs_are_cut_at_the_first_dimension_whatever_the_rank():
    outputs = {
        "cube": np.arange(8).reshape(2, 2, 2),
        "empty": np.zeros((2, 0, 3)),
        "flags": np.array([True, False]),
        "nan": np.array([[np.nan, 1], [np.inf, 2]], np.float16),
        "text": np.array([["],[", "[1],[2]"], ['"', ""]], object).astype("S").astype(object),
    }

    assert json.loads(tf_serving.encode_predict(outputs, by_rows=True)) == {
        "predictions": [
            {
                "cube": [[0, 1], [2, 3]],
                "empty": [],
                "flags": True,
                "nan": [pytest.approx(np.nan, nan_ok=True), 1],
                "text": ["],[", "[1],[2]"],
            },
            {"cube": [[4, 5], [6, 7]], "empty": [], "flags": False, "nan": [np.inf, 2], "text": ['"', ""]},
        ]
    }
    assert tf_serving.encode_predict({"a": np.zeros((0, 2)), "b": np.zeros(0)}, True) == b'{"predictions":[]}'


def test_strings_that_are_not_utf8_are_returned_unchanged():
    outputs = {"y": np.array([b"\xff\n", "ü".encode()], object)}

    assert tf_serving.encode_predict(outputs, by_rows=True) == b'{"predictions":["\xff\\n", "\xc3\xbc"]}'


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"y": np.array(7)}, "Tensor name: y has no shape information"),
        ({"p": np.zeros(2), "q": np.zeros(3)}, "Tensor name: q has inconsistent batch size: 3 expecting: 2"),
    ],
)
def test_outputs_with_different_numbers_of_rows_need_columns(outputs, says):
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


@pytest.mark.parametrize(
    "outputs",
    [
        {"classes": np.full((2, 3), b"", object), "scores": np.zeros((2, 2), np.float32)},
        {"scores": np.zeros(2, np.float32)},
        {"scores": np.zeros((2, 2))},
        {"classes": np.zeros((2, 2), np.int64)},
    ],
    ids=["shapes differ", "scores of rank 1", "scores of double", "classes of int64"],
)
def test_classes_and_scores_are_strings_and_floats_in_one_shape(outputs):
    with pytest.raises(BadRequestError, match="Expected outputs 'classes'"):
        tf_serving.encode_classification(outputs)


def test_classifications_may_lack_scores_or_have_no_classes():
    assert json.loads(tf_serving.encode_classification({"classes": np.array([[b"a"], [b"b"]], object)})) == {
        "results": [[["a", 0.0]], [["b", 0.0]]]
    }
    assert tf_serving.encode_classification({"scores": np.zeros((2, 0), np.float32)}) == b'{"results":[[],[]]}'


@pytest.mark.parametrize("shape", [(), (1, 1, 1), (1, 2)])
def test_a_regression_of_another_shape_is_refused(shape):
    with pytest.raises(BadRequestError, match="Expected output 'outputs'"):
        tf_serving.encode_regression({"outputs": np.zeros(shape, np.float32)})


def test_regressions_may_be_nan_or_infinite():
    values = np.array([0.2, np.inf, 1, -np.inf, np.nan], np.float32)

    assert tf_serving.encode_regression({"outputs": values}) == b'{"results":[0.2,Infinity,1.0,-Infinity,NaN]}'


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_regressions_are_one_value_an_example(shape):
    outputs = {"outputs": np.array([0.5, 2], np.float32).reshape(shape)}

    assert json.loads(tf_serving.encode_regression(outputs)) == {"results": [0.5, 2.0]}


@pytest.mark.parametrize("encode", [tf_serving.encode_classification, tf_serving.encode_regression])
def test_outputs_of_another_method_are_refused(encode):
    with refused("got y (double) of shape [2, 2], z (string) of shape [1], n (int64) of shape []."):
        encode({"y": np.zeros((2, 2)), "z": np.array([b""], object), "n": np.int64(0)})


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        ({}, "Failed to get input map"),
        ({"inputs": spec()}, "it has inputs (float32)."),
        ({"inputs": spec("string"), "x": spec()}, "it has inputs (string), x (float32)."),
    ],
)
def test_examples_need_one_string_input_named_inputs(inputs, got):
    signatures = {"serving_default": Signature(inputs, {}, "tensorflow/serving/predict")}

    with refused(got):
        tf_serving.decode_examples(body(examples=[{}]), signatures)


def test_examples_go_to_the_one_input_of_the_signature():
    inputs = {"inputs": spec("string", (None,))}
    signatures = {"serving_default": Signature(inputs, {}, "tensorflow/serving/predict")}

    request = tf_serving.decode_examples(body(examples=[{"a": 1}, {"a": 2}]), signatures)

    assert request.feeds["inputs"].shape == (2,)
    assert (request.signature, request.by_rows) == ("serving_default", True)


# --- URLs, status and metadata ---


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
    assert tf_serving_status.parse_path(path) == route


def test_a_status_names_every_version_and_what_kserve_looks_for():
    failed = VersionStatus("xor", 2, State.END, "DataLossError; the log says why")

    assert not json.loads(tf_serving_status.status("xor", [failed]))["ready"]
    assert json.loads(tf_serving_status.status("xor", [failed, VersionStatus("xor", 1, State.AVAILABLE)])) == {
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


def test_metadata_describe_tensors_as_tensorflow_does():
    signatures = {
        "serving_default": signature(x=spec(shape=(None, 2)), half=spec("float16", None), n=spec("int64", ()))
    }

    metadata = json.loads(tf_serving_status.metadata("xor", 1, signatures))

    assert metadata["model_spec"] == {"name": "xor", "signature_name": "", "version": "1"}
    definition = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    inputs = definition["inputs"]
    dimensions = [{"size": "-1", "name": ""}, {"size": "2", "name": ""}]
    shape = {"dim": dimensions, "unknown_rank": False}
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert list(definition["outputs"]) == ["labels"]
    assert inputs["x"] == {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "x:0"}
    assert inputs["half"]["dtype"] == "DT_HALF"
    assert inputs["half"]["tensor_shape"] == {"dim": [], "unknown_rank": True}
    assert (inputs["n"]["dtype"], inputs["n"]["tensor_shape"]) == ("DT_INT64", {"dim": [], "unknown_rank": False})


def test_errors_are_objects_with_one_member():
    assert json.loads(tf_serving_status.error_body('a "quoted" word')) == {"error": 'a "quoted" word'}
