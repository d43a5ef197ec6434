"""Inference in the Open Inference Protocol: requests that it accepts, requests that it refuses, and its responses."""

import copy
import json
import random
import struct

import numpy as np
import pytest

from serving.engines.signature import Signature, TensorSpec
from serving.errors import BadRequestError
from serving.wire import json_tensors, tf_serving
from serving.wire import open_inference_tensors as tensors
from serving.wire.open_inference import InferRequest, decode_infer, encode_infer, header_length
from tests.unit.specs import refused, signature, spec

ROWS = np.array([[1, 0], [1, 1]], np.float32)

COMPLEX = TensorSpec("x:0", 8, np.dtype(np.complex64), "complex64", (None,))

# Every datatype with values at its edges.
VALUES = [
    pytest.param("BOOL", "bool", [True, False, True], id="BOOL"),
    pytest.param("UINT8", "uint8", [0, 255], id="UINT8"),
    pytest.param("UINT16", "uint16", [0, 2**16 - 1], id="UINT16"),
    pytest.param("UINT32", "uint32", [0, 2**32 - 1], id="UINT32"),
    pytest.param("UINT64", "uint64", [0, 2**64 - 1], id="UINT64"),
    pytest.param("INT8", "int8", [-128, 127], id="INT8"),
    pytest.param("INT16", "int16", [-(2**15), 2**15 - 1], id="INT16"),
    pytest.param("INT32", "int32", [-(2**31), 2**31 - 1], id="INT32"),
    pytest.param("INT64", "int64", [-(2**63), 2**63 - 1], id="INT64"),
    pytest.param("FP16", "float16", [0.0999755859375, -65504.0], id="FP16"),
    pytest.param("FP32", "float32", [0.10000000149011612, 3.4028234663852886e38], id="FP32"),
    pytest.param("FP64", "float64", [0.1, -1.7976931348623157e308], id="FP64"),
    pytest.param("BF16", "bfloat16", [0.10009765625, 1.0141204801825835e31], id="BF16"),
    pytest.param("BYTES", "string", [b"a", "ü".encode(), b""], id="BYTES"),
]

ALL_BINARY = {"binary_data_output": True}
B_BINARY, B_JSON = ({"name": "b", "parameters": {"binary_data": binary}} for binary in (True, False))


def tensor(**members):
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 0, 1, 1], **members}


def with_parameters(parameters):
    return {"outputs": [{"name": "labels", "parameters": parameters}]}


def body(document, raw=None) -> tuple[bytes, int | None]:
    """Return a body and its header length, None without raw bytes."""
    header = json.dumps(document).encode()
    return (header, None) if raw is None else (header + raw, len(header))


def decode(document, raw=None, of=None):
    return decode_infer(*body(document, raw), of or signature(x=spec()))


def decode_x(raw=None, of=None, **members):
    return decode({"inputs": [tensor(**members)]}, raw, signature(x=of or spec())).feeds["x"]


def decode_binary(raw, of=None, **members):
    return decode_x(raw, of, **{"data": None, "parameters": {"binary_data_size": len(raw)}, **members})


def requests(outputs):
    return InferRequest(None, {}, outputs)


def answering(**outputs):
    return Signature({}, outputs, "tensorflow/serving/predict")


def encode_y(array, dtype, binary=False):
    of = answering(y=spec(dtype, (None,) * array.ndim))
    return encode_infer("xor", 1, requests({"y": binary}), {"y": array}, of)


# --- what is accepted


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        pytest.param([2, 2], [1, 0, 1, 1], id="flat"),
        pytest.param([2, 2], [[1, 0], [1, 1]], id="nested"),
        pytest.param([2, 2], [1.0, 0.0, 1e0, 10e-1], id="floats"),
    ],
)
def test_data_may_be_flat_or_nested(shape, data):
    array = decode_x(shape=shape, data=data)

    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, ROWS)


@pytest.mark.parametrize(
    ("of", "shape", "data"),
    [
        pytest.param((), [], [5], id="a scalar is one value"),
        pytest.param((None,), [3], [1, 2, 3], id="rank 1"),
        pytest.param((None, 1, 2), [2, 1, 2], [[[1, 2]], [[3, 4]]], id="rank 3, nested"),
        pytest.param(None, [1, 2], [1, 2], id="unknown rank"),
        pytest.param((None, 2), [0, 2], [], id="no rows"),
        pytest.param((None, None), [2, 0], [[], []], id="empty rows"),
    ],
)
def test_a_tensor_may_have_any_shape_that_the_signature_allows(of, shape, data):
    array = decode_x(of=spec(shape=of), shape=shape, data=data)

    assert array.shape == tuple(shape)
    np.testing.assert_array_equal(array, np.array(data, np.float32).reshape(shape))


def test_raw_bytes_become_arrays_without_a_copy():
    content, length = body({"inputs": [tensor(data=None, parameters={"binary_data_size": 16})]}, ROWS.tobytes())

    array = decode_infer(content, length, signature(x=spec())).feeds["x"]

    assert np.shares_memory(array, np.frombuffer(content, np.uint8))
    np.testing.assert_array_equal(array, ROWS)


def test_raw_bytes_are_in_the_order_of_the_inputs_even_with_json_data_in_between():
    entries = [
        tensor(name="b", data=None, datatype="INT32", shape=[1], parameters={"binary_data_size": 4}),
        tensor(name="j", datatype="INT32", shape=[1], data=[2]),
        tensor(name="a", data=None, datatype="INT32", shape=[2], parameters={"binary_data_size": 8}),
    ]
    of = {name: spec("int32", (None,)) for name in "abj"}

    feeds = decode({"inputs": entries}, struct.pack("<3i", 1, 3, 4), signature(**of)).feeds

    assert {name: array.tolist() for name, array in feeds.items()} == {"b": [1], "j": [2], "a": [3, 4]}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_raw_bytes_may_hold_what_json_cannot_represent(value):
    raw = np.array([[value, 1]], np.float32).tobytes()

    np.testing.assert_array_equal(decode_binary(raw, shape=[1, 2]), [[value, 1]])


def test_raw_bfloat16_is_the_upper_half_of_a_float32():
    assert decode_binary(b"\x80?\x00?", spec("bfloat16"), shape=[1, 2], datatype="BF16").tolist() == [[1.0, 0.5]]


def test_an_empty_tensor_may_come_as_no_bytes():
    assert decode_binary(b"", shape=[0, 2]).shape == (0, 2)
    assert decode_binary(b"", spec("string", (None,)), shape=[0], datatype="BYTES").shape == (0,)


def test_null_members_count_as_absent():
    nulls = {"id": None, "parameters": None, "outputs": None}

    request = decode({**nulls, "inputs": [tensor(parameters=None)]})

    assert (request.id, dict(request.outputs)) == (None, {"labels": False})


def test_unknown_members_and_parameters_are_ignored():
    inputs = [tensor(parameters={"content_type": "np"})]
    request = decode({"model_name": "xor", "inputs": inputs, "parameters": {"sequence_id": 5, "timeout": 100}})

    np.testing.assert_array_equal(request.feeds["x"], ROWS)


@pytest.mark.parametrize(
    ("outputs", "parameters", "expected"),
    [
        pytest.param(None, {}, {"a": False, "b": False}, id="none named: all, as JSON"),
        pytest.param([], {}, {"a": False, "b": False}, id="an empty list names none"),
        pytest.param(None, ALL_BINARY, {"a": True, "b": True}, id="all as binary data"),
        pytest.param([{"name": "b"}], {}, {"b": False}, id="one, as JSON"),
        pytest.param([B_BINARY, {"name": "a"}], {}, {"b": True, "a": False}, id="in the order of the request"),
        pytest.param([{"name": "a"}, B_JSON], ALL_BINARY, {"a": True, "b": False}, id="its own parameter comes first"),
    ],
)
def test_outputs_and_their_form_are_those_requested(outputs, parameters, expected):
    of = Signature({"x": spec()}, {"a": spec(), "b": spec()}, "")

    request = decode({"id": "42", "inputs": [tensor()], "outputs": outputs, "parameters": parameters}, of=of)

    assert (request.id, list(request.outputs.items())) == ("42", list(expected.items()))


def test_the_request_in_the_binary_extensions_example_is_accepted():
    parameters = [{"binary_data_size": 16}, {"binary_data_size": 3}]
    entries = [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "parameters": parameters[0]},
        {"name": "input1", "shape": [3], "datatype": "BOOL", "parameters": parameters[1]},
    ]
    of = signature(input0=spec("uint32", (None, 2)), input1=spec("bool", (None,)))

    feeds = decode({"model_name": "mymodel", "inputs": entries}, struct.pack("<4I3?", 1, 2, 3, 4, 1, 0, 1), of).feeds

    assert feeds["input0"].tolist() == [[1, 2], [3, 4]]
    assert feeds["input1"].tolist() == [True, False, True]


# --- bodies without JSON


@pytest.mark.parametrize(
    ("of", "raw", "expected"),
    [
        pytest.param(spec(shape=(None, 2)), ROWS.tobytes(), ROWS, id="as many rows as there are bytes for"),
        pytest.param(spec(shape=(2, 2)), ROWS.tobytes(), ROWS, id="a fixed shape"),
        pytest.param(spec(shape=(None, None)), ROWS.tobytes(), ROWS.reshape(1, 4), id="a batch of one"),
        pytest.param(
            spec(shape=(None, 2, None)), ROWS.tobytes(), ROWS.reshape(1, 2, 2), id="a batch of one of any width"
        ),
        pytest.param(spec("string", (None, 1)), b"a\0b", np.array([[b"a\0b"]], object), id="one string"),
        pytest.param(spec(shape=(None, 2)), b"", np.zeros((0, 2), np.float32), id="no rows"),
        pytest.param(spec(shape=(None, 0)), b"", np.zeros((0, 0), np.float32), id="no rows of nothing"),
    ],
)
def test_with_a_header_length_of_0_the_body_is_the_only_input(of, raw, expected):
    request = decode_infer(raw, 0, signature(x=of))

    np.testing.assert_array_equal(request.feeds["x"], expected)
    assert request.outputs == {"labels": True}


@pytest.mark.parametrize(
    ("of", "raw", "detail"),
    [
        pytest.param({"x": spec()}, b"12345", "x: expected 0 bytes for FP32 of shape [0, 2], got 5", id="half a row"),
        pytest.param({"x": spec(shape=(None, 0))}, b"1", "x: expected 0 bytes", id="rows of nothing"),
        pytest.param({"x": spec(shape=(2, None, None))}, b"1", "don't determine the shape", id="two open sizes"),
        pytest.param({"x": spec(shape=None)}, b"1", "don't determine the shape", id="unknown rank"),
        pytest.param({"x": spec("string", (None, 2))}, b"1", "is 1 element; expected 2", id="two strings"),
        pytest.param({"a": spec(), "b": spec()}, b"1", "this model has: a, b", id="two inputs"),
        pytest.param({"x": COMPLEX}, b"1", "no datatype for complex64", id="no datatype"),
    ],
)
def test_a_body_without_json_is_refused_if_its_shape_is_unknown(of, raw, detail):
    with refused(detail):
        decode_infer(raw, 0, signature(**of))


# --- what is refused


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        pytest.param(b"", "not JSON", id="no body"),
        pytest.param(b"x=1", "not JSON", id="a form"),
        pytest.param(b'{"inputs": [', "not JSON", id="cut off"),
        pytest.param(b'{"id": "\xff"}', "not JSON", id="not UTF-8"),
        pytest.param(b'{"inputs": ' + b"[" * 100_000, "nested too deeply", id="100,000 levels"),
        pytest.param(b"[]", "must be a JSON object", id="a list"),
        pytest.param(b"null", "must be a JSON object", id="null"),
        pytest.param(b"{}", "inputs of the request is missing", id="no inputs"),
        pytest.param(b'{"inputs": {}}', "inputs of the request: expected a list, got {}", id="inputs are an object"),
        pytest.param(b'{"inputs": []}', "expects the inputs x; missing: x", id="an empty list of inputs"),
        pytest.param(b'{"inputs": [5]}', "input 1: expected a JSON object, got 5", id="an input is a number"),
    ],
)
def test_a_body_that_is_not_a_request_is_refused(content, detail):
    with refused(detail):
        decode_infer(content, None, signature(x=spec()))


def test_a_value_that_can_be_parsed_but_not_quoted_is_refused():
    for depth in range(900, 1000):  # somewhere here Python's limit lies between the two
        with pytest.raises(BadRequestError):
            decode_infer(b'{"inputs": [{"name": ' + b"[" * depth + b"]" * depth + b"}]}", None, signature(x=spec()))


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        pytest.param({"id": 42}, "id of the request: expected a string, got 42", id="id is a number"),
        pytest.param({"inputs": [tensor(), tensor()]}, "The input 'x' is given twice", id="an input twice"),
        pytest.param({"parameters": []}, "parameters of the request: expected a JSON object", id="parameters: list"),
        pytest.param({"parameters": {"binary_data_output": 1}}, "expected true or false, got 1", id="binary: 1"),
        pytest.param({"outputs": {}}, "outputs of the request: expected a list", id="outputs are an object"),
        pytest.param({"outputs": ["labels"]}, 'output 1: expected a JSON object, got "labels"', id="output: a string"),
        pytest.param({"outputs": [{}]}, "name of output 1 is missing", id="output without a name"),
        pytest.param({"outputs": [{"name": "y"}]}, "no output 'y'; it has: labels", id="an unknown output"),
        pytest.param({"outputs": [{"name": "labels"}] * 2}, "output 'labels' is given twice", id="an output twice"),
        (with_parameters(5), "parameters of output 'labels': expected a JSON object, got 5"),
        (with_parameters({"binary_data": "x"}), "binary_data of output 'labels': expected true or false, got \"x\""),
        (
            with_parameters({"classification": 0}),
            "classification of output 'labels': expected a whole number above 0, got 0.",
        ),
        (with_parameters({"shared_memory_region": "r"}), "shared_memory_region of output 'labels' is not supported"),
    ],
)
def test_a_bad_member_of_the_request_is_refused(members, detail):
    with refused(detail):
        decode({"inputs": [tensor()], **members})


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        pytest.param({"name": None}, "name of input 1 is missing; expected a string", id="no name"),
        pytest.param({"name": 5}, "name of input 1: expected a string, got 5", id="name is a number"),
        pytest.param({"name": "y"}, "no input 'y'; it has: x", id="unknown name"),
        pytest.param({"datatype": None}, "datatype of input 'x' is missing", id="no datatype"),
        pytest.param({"datatype": 1}, "datatype of input 'x': expected a string, got 1", id="datatype is a number"),
        pytest.param({"datatype": "FP64"}, "Input 'x' has datatype 'FP64'; expected 'FP32'", id="another datatype"),
        pytest.param({"datatype": "float32"}, "has datatype 'float32'; expected 'FP32'", id="no datatype's name"),
        pytest.param({"shape": None}, "shape of input 'x' is missing", id="no shape"),
        pytest.param({"shape": "2,2"}, "shape of input 'x': expected a list", id="shape is a string"),
        pytest.param({"shape": [2, 2.0]}, "has shape [2, 2.0]; expected whole numbers", id="shape of a float"),
        pytest.param({"shape": [True, 2]}, "has shape [True, 2]; expected whole numbers", id="shape of a boolean"),
        pytest.param({"shape": [-2, -2]}, "has shape [-2, -2]; expected whole numbers, 0 or more", id="negative"),
        pytest.param({"shape": [2, 3]}, "Input 'x' has shape [2, 3]; expected [?, 2]", id="a wrong size"),
        pytest.param({"shape": [4]}, "Input 'x' has shape [4]; expected [?, 2]", id="a wrong rank"),
        pytest.param({"shape": [2**62, 2]}, "the limit is 64 dimensions and 2147483647 values", id="beyond any memory"),
        pytest.param({"shape": [10**4000, 2]}, "the limit is 64 dimensions", id="a size of 4,000 digits"),
        pytest.param({"data": None}, "data of input 'x' is missing; expected a list", id="no data"),
        pytest.param({"data": 5}, "data of input 'x': expected a list, got 5", id="data is a number"),
        pytest.param({"data": [1, 0, 1]}, "x: expected 4 values for shape [2, 2], got 3", id="too few values"),
        pytest.param({"data": [1] * 5}, "x: expected 4 values for shape [2, 2], got 5", id="too many values"),
        pytest.param({"data": [[1, 0]]}, "x: expected 2 rows, got 1", id="nested: too few rows"),
        pytest.param({"data": [[1, 0], [1]]}, "x: expected 2 columns, got 1, in row 2", id="nested: ragged"),
        pytest.param({"data": [[1, 0], 1]}, "expected 2 levels of lists, got 1, in row 2", id="nested and flat"),
        pytest.param({"data": [1, [0], 1, 1]}, "expected a number, got [0], in row 1, column 2", id="flat and nested"),
        pytest.param({"data": [[[1], [0]], [[1], [1]]]}, "expected a number, got [1]", id="nested too deep"),
        pytest.param({"data": [1, 0, 1, "1"]}, 'a number, got "1", in row 2, column 2', id="a string"),
        pytest.param({"data": [1, None, 1, 1]}, "expected a number, got null, in row 1, column 2", id="null"),
        pytest.param({"data": [1, 0, True, 1]}, "expected a number, got true, in row 2, column 1", id="a boolean"),
        pytest.param({"data": [1, 0, 1, {}]}, "expected a number, got {}, in row 2, column 2", id="an object"),
        pytest.param({"data": [1, np.nan, 1, 1]}, "finite float32, got NaN, in row 1, column 2", id="NaN"),
        pytest.param({"data": [1, 0, -np.inf, 1]}, "finite float32, got -Infinity, in row 2", id="-Infinity"),
        pytest.param({"data": [1, 0, 1, 1e39]}, "expected a finite float32, got 1e+39", id="beyond float32"),
        pytest.param({"data": [1, 0, 1, 10**400]}, "expected a float32, got 1000", id="beyond any float"),
        pytest.param({"parameters": "x"}, "parameters of input 'x': expected a JSON object", id="parameters: string"),
        ({"parameters": {"binary_data_size": 16}}, "Input 'x' has both data and binary_data_size"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared_memory_region of input 'x' is not supported"),
    ],
)
def test_a_bad_input_is_refused_with_its_place(members, detail):
    with refused(detail):
        decode_x(**members)


@pytest.mark.parametrize(
    ("of", "datatype", "data", "detail"),
    [
        ("int32", "INT32", [1, 0.5], "x: expected a whole number, got 0.5, in row 2"),
        ("int32", "INT32", [1, 2**31], "x: expected an int32, got 2147483648, in row 2"),
        ("uint8", "UINT8", [256, 1], "expected a uint8, got 256, in row 1"),
        ("uint64", "UINT64", [1, -1], "expected a uint64, got -1, in row 2"),
        ("int64", "INT64", [1, 2**63], "expected an int64, got 9223372036854775808, in row 2"),
        ("float16", "FP16", [1, 65520], "expected a finite float16, got 65520, in row 2"),
        ("bfloat16", "BF16", [1, 3.4e38], "expected a finite bfloat16, got 3.4e+38, in row 2"),
        ("bfloat16", "BF16", [1, 10**400], "expected a bfloat16, got 1000"),
        ("bool", "BOOL", [True, 1], "expected true or false, got 1, in row 2"),
        ("string", "BYTES", ["a", 1], "expected a string, got 1, in row 2"),
        ("string", "BYTES", ["a", "\ud800"], 'x: expected a valid Unicode string, got "\ud800", in row 2'),
    ],
)
def test_a_value_that_the_datatype_cannot_hold_is_refused(of, datatype, data, detail):
    with refused(detail):
        decode_x(of=spec(of, (None,)), shape=[2], datatype=datatype, data=data)


@pytest.mark.parametrize(
    ("of", "members", "detail"),
    [
        (spec(shape=None), {"shape": [1] * 65, "data": [1]}, "the limit is 64 dimensions"),
        (spec(shape=(None, None)), {"shape": [0, 2**62], "data": []}, "the limit is 64 dimensions"),
        # The specification's own example has one value for three.
        (spec("bool", (None,)), {"shape": [3], "datatype": "BOOL", "data": [True]}, "expected 3 values for shape [3]"),
    ],
)
def test_a_bad_input_of_another_signature_is_refused(of, members, detail):
    with refused(detail):
        decode_x(of=of, **members)


@pytest.mark.parametrize("shape", [(1,) * 64, (0, 2**31 - 1)])
def test_a_shape_at_the_limits_is_accepted(shape):
    size = int(np.prod(shape))

    assert decode_x(of=spec(shape=None), shape=list(shape), data=[1] * size).shape == shape


def test_a_shape_beyond_the_limits_is_quoted():
    with refused("Input 'x' has shape [0, 2147483648]; the limit is"):
        decode_x(of=spec(shape=None), shape=[0, 2**31], data=[])


def test_a_missing_input_is_named():
    with pytest.raises(BadRequestError, match="expects the inputs x, y; missing: y"):
        decode({"inputs": [tensor()]}, of=signature(x=spec(), y=spec()))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_type_without_a_datatype_is_refused_before_the_model_runs(side):
    specs = {"inputs": {"x": spec()}, "outputs": {"y": spec()}} | {side: {"z": COMPLEX}}
    inputs = [tensor(name=name) for name in specs["inputs"]]

    with pytest.raises(BadRequestError, match="z: the Open Inference Protocol has no datatype for complex64"):
        decode({"inputs": inputs}, of=Signature(specs["inputs"], specs["outputs"], ""))


@pytest.mark.parametrize(
    ("size", "raw", "detail"),
    [
        pytest.param(15, 15, "x: expected 16 bytes for FP32 of shape [2, 2], got 15", id="too few for the shape"),
        pytest.param(17, 17, "x: expected 16 bytes for FP32 of shape [2, 2], got 17", id="too many for the shape"),
        pytest.param(16, 15, "has binary_data_size 16; expected 0 to 15", id="beyond the body"),
        pytest.param(16, None, "has binary_data_size 16; expected 0 to 0", id="no header length"),
        pytest.param(16, 18, "2 bytes are left after the last tensor", id="bytes left over"),
        pytest.param(-1, 16, "has binary_data_size -1", id="negative"),
        pytest.param(2**70, 16, "got 1.1805916207174113e+21", id="absurd"),
        pytest.param("16", 16, "binary_data_size of input 'x': expected a whole number, got \"16\"", id="a string"),
        pytest.param(16.0, 16, "expected a whole number, got 16.0", id="a float"),
        pytest.param(True, 16, "expected a whole number, got true", id="a boolean"),
    ],
)
def test_a_binary_data_size_that_does_not_match_is_refused(size, raw, detail):
    with refused(detail):
        decode_x(None if raw is None else bytes(raw), data=None, parameters={"binary_data_size": size})


def test_a_byte_that_is_neither_true_nor_false_is_refused():
    with pytest.raises(BadRequestError, match="x: expected a byte 0 or 1, got 2, in row 3"):
        decode_binary(b"\0\1\2", spec("bool", (None,)), shape=[3], datatype="BOOL")


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        pytest.param(b"\1\0\0\0a", "expected 2 elements for shape [2], got 1", id="too few"),
        pytest.param(b"\0\0\0\0" * 3, "expected 2 elements for shape [2], got 3", id="too many"),
        pytest.param(b"\1\0\0\0a\2\0\0\0b", "element 2 runs past the end of the tensor's 10 bytes", id="cut off"),
        pytest.param(b"\1\0\0\0a\xff\xff\xff\xff", "element 2 runs past the end", id="a length of 4 GiB"),
        pytest.param(b"\1\0\0\0a\0\0", "element 2 runs past the end", id="half a length"),
    ],
)
def test_strings_that_do_not_fill_their_bytes_are_refused(raw, detail):
    with refused(detail):
        decode_binary(raw, spec("string", (None,)), shape=[2], datatype="BYTES")


@pytest.mark.parametrize("length", [-1, 10_000], ids=["negative", "beyond the body"])
def test_a_header_length_outside_the_body_is_refused(length):
    content, _ = body({"inputs": [tensor()]})

    with pytest.raises(BadRequestError, match=f"Inference-Header-Content-Length is {length}; expected 0 to"):
        decode_infer(content, length, signature(x=spec()))


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("0", 0), ("135", 135), (" 135 ", 135)])
def test_a_header_length_is_read(text, expected):
    assert header_length(text) == expected


@pytest.mark.parametrize("text", ["", "abc", "-1", "+1", "1.5", "1_0", "１", "9" * 5000])
def test_a_header_length_that_is_not_a_number_of_bytes_is_refused(text):
    with pytest.raises(BadRequestError, match="must be a number of bytes") as caught:
        header_length(text)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"id": ["x" * 10_000], "inputs": [tensor()]}, id="a value"),
        pytest.param({"inputs": [tensor(name="x" * 10_000)]}, id="a name"),
        pytest.param({"inputs": [tensor(datatype="x" * 10_000)]}, id="a datatype"),
        pytest.param({"inputs": [tensor(shape=[1] * 10_000)]}, id="a shape"),
    ],
)
def test_an_error_repeats_only_the_beginning_of_a_long_value(document):
    with pytest.raises(BadRequestError) as caught:
        decode(document)

    assert len(str(caught.value)) < 200


# --- what is answered


def test_a_response_names_the_model_its_version_and_the_requests_id():
    request = InferRequest("42", {}, {"labels": False})
    labels = np.array([[0.98827], [0.0114]], np.float32)

    content, length = encode_infer("xor", 3, request, {"labels": labels}, signature())

    assert length is None
    assert content == (
        b'{"model_name": "xor", "model_version": "3", "id": "42", "outputs": '
        b'[{"name": "labels", "datatype": "FP32", "shape": [2, 1], "data": [0.98827,0.0114]}]}'
    )


@pytest.mark.parametrize("identifier", ["", 'a"b', "ü", "\ud800"], ids=["empty", "quote", "umlaut", "half a character"])
def test_any_id_is_returned_unchanged(identifier):
    content, _ = encode_infer("xor", 1, InferRequest(identifier, {}, {}), {}, answering())

    assert json.loads(content)["id"] == identifier


def test_raw_bytes_are_in_the_order_of_the_outputs_even_with_json_data_in_between():
    outputs: dict[str, np.ndarray] = {"a": np.array([1], np.int32), "b": np.array([2], np.int32)}
    outputs["c"] = np.array([[3, 4]], np.int16)
    outputs["not asked for"] = np.array([5], np.int32)
    of = answering(**dict.fromkeys(outputs, spec("int32")) | {"c": spec("int16")})

    content, length = encode_infer("m", 1, requests({"c": True, "b": False, "a": True}), outputs, of)

    assert content[length:] == struct.pack("<2hi", 3, 4, 1)
    document = json.loads(content[:length])
    assert "id" not in document  # the request has none
    assert document["outputs"] == [
        {"name": "c", "datatype": "INT16", "shape": [1, 2], "parameters": {"binary_data_size": 4}},
        {"name": "b", "datatype": "INT32", "shape": [1], "data": [2]},
        {"name": "a", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": 4}},
    ]


def test_data_are_flat_and_row_major_whatever_the_memory_layout():
    array = np.asfortranarray([[1, 2], [3, 4]], np.int32)

    content, _ = encode_y(array, "int32")
    raw, length = encode_y(array, "int32", binary=True)

    assert json.loads(content)["outputs"][0]["data"] == [1, 2, 3, 4]
    assert raw[length:] == struct.pack("<4i", 1, 2, 3, 4)


def test_every_float32_reads_back_exactly():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]

    [output] = json.loads(encode_y(values, "float32")[0])["outputs"]

    np.testing.assert_array_equal(np.array(output["data"], np.float32), values)


@pytest.mark.parametrize(
    ("dtype", "values", "detail"),
    [
        ("float32", [np.nan], "Output 'y' contains NaN or Infinity, which JSON can't represent. Ask for it as binary"),
        ("float64", [-np.inf], "contains NaN or Infinity"),
        ("bfloat16", [np.inf], "contains NaN or Infinity"),
        ("string", [b"\xff"], "Output 'y' contains bytes that are not UTF-8. Ask for it as binary data"),
    ],
)
def test_an_output_that_json_cannot_represent_is_an_error_that_suggests_binary_data(dtype, values, detail):
    array = np.array(values, spec(dtype).dtype)

    with pytest.raises(BadRequestError) as caught:
        encode_y(array, dtype)

    assert detail in str(caught.value)
    assert encode_y(array, dtype, binary=True)[1] is not None


# --- decode and encode are inverses


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
@pytest.mark.parametrize("shape", [(), (-1,), (1, -1), (-1, 1), (0, 3)], ids=str)
@pytest.mark.parametrize(("datatype", "dtype", "values"), VALUES)
def test_an_answer_can_be_sent_as_a_request(datatype, dtype, values, shape, binary):
    of = spec(dtype, (None,) * len(shape))
    array = np.array(values, of.dtype)
    array = array[0:1].reshape(()) if shape == () else array[:0].reshape(shape) if 0 in shape else array.reshape(shape)

    content, length = encode_y(array, dtype, binary)
    document = json.loads(content[:length])
    raw = None if length is None else content[length:]
    again = decode({"inputs": document["outputs"]}, raw, signature(y=of)).feeds["y"]

    assert document["outputs"][0]["datatype"] == datatype
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tolist() == array.tolist()


def test_what_tritonclient_2_73_sends_is_understood():
    content = (
        b'{"inputs":[{"name":"s","shape":[3],"datatype":"BYTES","parameters":{"binary_data_size":15}},'
        b'{"name":"x","shape":[2,2],"datatype":"FP32","parameters":{"binary_data_size":16}},'
        b'{"name":"j","shape":[2],"datatype":"BOOL","data":[true,false]}],'
        b'"outputs":[{"name":"labels","parameters":{"binary_data":true}}]}'
        b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xbc\x00\x00\x00\x00"
        b"\x00\x00\x80?\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x80?"
    )
    of = signature(j=spec("bool", (None,)), s=spec("string", (None,)), x=spec())

    request = decode_infer(content, 302, of)

    feeds = request.feeds
    assert request.outputs == {"labels": True}
    assert feeds["s"].tolist() == [b"a", "ü".encode(), b""]
    assert feeds["j"].tolist() == [True, False]
    np.testing.assert_array_equal(feeds["x"], ROWS)


# --- hostile bodies, from a seeded mutator: only BadRequestError may be raised

FUZZED = signature(
    b=spec("bool", None), f=spec("bfloat16", (None, None)), i=spec("int8", (None,)), s=spec("string", (None,)), x=spec()
)

FUZZED_REQUEST = {
    "id": "1",
    "inputs": [
        tensor(),
        {"name": "s", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}},
        {"name": "b", "shape": [2, 1], "datatype": "BOOL", "parameters": {"binary_data_size": 2}},
        {"name": "f", "shape": [1, 2], "datatype": "BF16", "data": [[1, 2.5]]},
        {"name": "i", "shape": [3], "datatype": "INT8", "data": [1, 2, 3]},
    ],
    "outputs": [{"name": "labels", "parameters": {"binary_data": True}}],
    "parameters": {"binary_data_output": False},
}
FUZZED_RAW = b"\1\0\0\0a\1\0\0\0b\1\0"

HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400),
    *(0.5, -0.0, 1e308, np.nan, np.inf),
    *("", "x", "a" * 300, "\ud800", "\0", "NaN", "FP32", "BYTES", "BF16", "labels", "s"),
    *([], [[]], [[[]]], [0], [-1], [0, 2**62], [1] * 70, json.loads("[" * 90 + "]" * 90)),
    *({}, {"name": "x"}, {"binary_data_size": 4}),
]


def places(value):
    """Yield each (container, key) inside a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def mutate(document, chance):
    container, key = chance.choice(list(places(document)))
    action = chance.random()
    if action < 0.7:
        container[key] = copy.deepcopy(chance.choice(HOSTILE))
    elif action < 0.85:
        del container[key]
    elif isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    else:
        container[chance.choice(["name", "data", "shape", "parameters", "x"])] = container[key]


def mutate_bytes(content, chance):
    content = bytearray(content)
    for _ in range(chance.randrange(1, 4)):
        start = chance.randrange(len(content))
        content[start : start + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    return bytes(content)


@pytest.mark.parametrize("seed", range(20))
def test_no_hostile_body_raises_anything_but_a_bad_request(seed):
    chance = random.Random(seed)
    details = []
    for _ in range(250):
        document = copy.deepcopy(FUZZED_REQUEST)
        for _ in range(chance.randrange(4)):
            mutate(document, chance)
        content, length = body(document, FUZZED_RAW)
        if chance.random() < 0.3:
            content = mutate_bytes(content, chance)
        if chance.random() < 0.1:
            length = chance.choice([None, -1, 0, 1, length + 1, len(content), 2**64])
        try:
            decode_infer(content, length, FUZZED)
        except BadRequestError as error:
            details.append(str(error))

    assert 100 < len(details) < 250  # some bodies stay valid
    assert max(map(len, details)) < 400


def test_many_strings_are_written_in_pieces():
    texts = np.array([b"one", b'"two"', "drei ü".encode()] * 20_000, object).reshape(-1, 3)

    assert json.loads(tensors.to_json(texts, "y")) == ["one", '"two"', "drei ü"] * 20_000
    assert json.loads(json_tensors.to_json(texts, "y")) == [["one", '"two"', "drei ü"]] * 20_000
    rows = json.loads(tf_serving.encode_predict({"y": texts}, by_rows=True))
    assert rows == {"predictions": [["one", '"two"', "drei ü"]] * 20_000}
