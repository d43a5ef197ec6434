"""The 2017 article's format: requests that it accepts, requests that it refuses, and its answers."""

import json

import numpy as np
import pytest

from serving.errors import BadRequestError, PredictionError
from serving.wire import x_labels
from tests.unit.specs import refused, signature, spec


def decode(body, **kwargs):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return x_labels.decode(body, signature(X=spec(**kwargs)))["X"]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        pytest.param("1 0|1 1", [[1, 0], [1, 1]], id="the article's text"),
        pytest.param("1 0", [[1, 0]], id="one row"),
        pytest.param(" 1   0 | 1\t1\n", [[1, 0], [1, 1]], id="white space of any kind"),
        pytest.param("1\u00a00|1 1", [[1, 0], [1, 1]], id="no-break space"),
        pytest.param("-1.5 +.5|1e-3 2.", [[-1.5, 0.5], [0.001, 2]], id="signs, fractions, exponents"),
        pytest.param([[1, 0], [1, 1]], [[1, 0], [1, 1]], id="nested lists"),
        pytest.param([[0.1, 2]], [[np.float32(0.1), 2]], id="floats are rounded to float32"),
    ],
)
def test_rows_become_a_float32_array(x, expected):
    array = decode({"X": x})

    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array(expected, np.float32))


def test_minus_zero_keeps_its_sign_in_text():
    np.testing.assert_array_equal(np.signbit(decode({"X": "-0 1|0 -0.0"})), [[True, False], [False, True]])


def test_members_beside_x_are_ignored():
    assert decode({"X": "1 0", "client": "app"}).shape == (1, 2)


def test_text_and_lists_give_the_same_array():
    rows = np.random.default_rng(0).standard_normal((50, 2)).tolist()
    text = "|".join(" ".join(map(repr, row)) for row in rows)

    np.testing.assert_array_equal(decode({"X": text}), decode({"X": rows}))


@pytest.mark.parametrize(
    ("dtype", "x", "expected"),
    [
        ("int32", "1 -2", [[1, -2]]),
        ("int64", [[2**62, 0]], [[2**62, 0]]),
        ("uint8", [[255, 0]], [[255, 0]]),
        ("bool", [[True, False]], [[True, False]]),
        ("float64", "0.1 1e300", [[0.1, 1e300]]),
        ("float16", [[0.5, 65504]], [[0.5, 65504]]),
        ("bfloat16", [[0.5, 2**100]], [[0.5, 2.0**100]]),
        ("string", [["a", "ü"]], [[b"a", "ü".encode()]]),
    ],
)
def test_every_dtype_of_a_signature_is_read(dtype, x, expected):
    array = decode({"X": x}, dtype=dtype)

    assert array.dtype == spec(dtype).dtype
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("shape", "x"),
    [((), None), ((None,), [1, 2, 3]), ((None, 2, 2), [[[1, 2], [3, 4]]]), (None, [[1], [2]])],
    ids=["a scalar is not a list", "rank 1", "rank 3", "unknown rank"],
)
def test_lists_may_have_any_rank_that_the_signature_has(shape, x):
    if x is None:
        with pytest.raises(BadRequestError):
            decode({"X": [1]}, shape=shape)
    else:
        np.testing.assert_array_equal(decode({"X": x}, shape=shape), np.array(x, np.float32))


@pytest.mark.parametrize(
    ("body", "detail", "members"),
    [
        pytest.param(b"", "not JSON", {}, id="no body"),
        pytest.param(b"X=1 0", "not JSON", {}, id="a form"),
        pytest.param(b'{"X": "1 0"', "not JSON", {}, id="cut off"),
        pytest.param(b'{"X": "\xff"}', "not JSON", {}, id="not UTF-8"),
        pytest.param(b'{"X": [[1' + b"0" * 5000 + b", 0]]}", "not JSON", {}, id="a number of 5,000 digits"),
        pytest.param(b'{"X": ' + b"[" * 100_000, "nested too deeply", {}, id="100,000 levels"),
        pytest.param(b"[[1, 0]]", "must be a JSON object", {}, id="a list"),
        pytest.param(b'"1 0"', "must be a JSON object", {}, id="a string"),
        pytest.param(b"null", "must be a JSON object", {}, id="null"),
        pytest.param(b"{}", 'no member "X"', {}, id="no X"),
        pytest.param(b'{"x": "1 0"}', 'no member "X"', {}, id="x in lower case"),
        pytest.param(b'{"X": 5}', "must be a string or a list", {"input": "X"}, id="a number"),
        pytest.param(b'{"X": null}', "must be a string or a list", {"input": "X"}, id="X is null"),
        pytest.param(b'{"X": {"a": 1}}', "must be a string or a list", {"input": "X"}, id="an object"),
        pytest.param(b'{"X": ""}', "empty", {"input": "X"}, id="empty text"),
        pytest.param(b'{"X": "  "}', "empty", {"input": "X"}, id="blank text"),
        pytest.param(b'{"X": []}', "empty", {"input": "X"}, id="no rows"),
        pytest.param(b'{"X": [[]]}', "expected 2 columns, got 0, in row 1", {"row": 1}, id="an empty row"),
        pytest.param(
            b'{"X": "1 0|1"}', "X: expected 2 columns, got 1, in row 2", {"row": 2, "input": "X"}, id="ragged text"
        ),
        pytest.param(b'{"X": [[1, 0], [1]]}', "X: expected 2 columns", {"row": 2, "input": "X"}, id="ragged lists"),
        pytest.param(
            b'{"X": "1 0|1 0|1 0|1 0|1 0 1"}',
            "expected 2 columns, got 3, in row 5",
            {"row": 5, "expected": 2, "got": 3},
            id="three columns in row 5",
        ),
        pytest.param(b'{"X": "1 0|"}', "got 0, in row 2", {"row": 2}, id="a trailing bar"),
        pytest.param(b'{"X": [1, 0]}', "expected 2 levels of lists, got 1, in row 1", {"row": 1}, id="a bare row"),
        pytest.param(b'{"X": [[[1, 0], [1, 1]]]}', "expected a number, got [1, 0]", {"row": 1}, id="too deep"),
        pytest.param(
            b'{"X": "1 0|1 x"}', 'got "x", in row 2, column 2', {"row": 2, "column": 2, "input": "X"}, id="text: letter"
        ),
        pytest.param(b'{"X": "1,0"}', "got 1, in row 1", {"row": 1}, id="comma for a space"),
        pytest.param(
            b'{"X": "1_0 1"}', 'X: expected a number, got "1_0", in row 1, column 1', {"column": 1}, id="underscore"
        ),
        pytest.param('{"X": "1 １"}'.encode(), "in row 1, column 2", {"column": 2}, id="digit of another script"),
        pytest.param(b'{"X": "1 0|1,1 0"}', 'got "1,1", in row 2', {"column": 1}, id="comma in a word"),
        pytest.param(
            b'{"X": "1 1 1' + b" " * 140_000 + b'1|"}', "got 4, in row 1", {"row": 1}, id="a long row in two pieces"
        ),
        pytest.param(b'{"X": "1 0|[1 1]"}', 'got "[1", in row 2', {"column": 1}, id="brackets in a row"),
        pytest.param(b'{"X": "1 0 | 1 | 1 1"}', "got 1, in row 2", {"row": 2}, id="a short row of text"),
        pytest.param(b'{"X": "1 0|1 1 0|1"}', "got 3, in row 2", {"row": 2}, id="rows that make up for each other"),
        pytest.param(b'{"X": "0x10 1"}', 'got "0x10"', {"column": 1}, id="hexadecimal"),
        pytest.param(b'{"X": [[1, "0"]]}', 'got "0", in row 1, column 2', {"column": 2}, id="lists: string"),
        pytest.param(b'{"X": [[1, null]]}', "got null, in row 1, column 2", {"column": 2}, id="lists: null"),
        pytest.param(b'{"X": [[true, 1]]}', "got true, in row 1, column 1", {"column": 1}, id="lists: true"),
        pytest.param(b'{"X": "1 nan"}', "X: expected a finite", {"row": 1, "column": 2}, id="text: nan"),
        pytest.param(b'{"X": "1 0|inf 0"}', "finite", {"row": 2, "column": 1}, id="text: inf"),
        pytest.param(b'{"X": [[1, NaN]]}', "finite", {"row": 1, "column": 2}, id="lists: NaN"),
        pytest.param(b'{"X": [[-Infinity, 1]]}', "finite", {"column": 1}, id="lists: -Infinity"),
        pytest.param(b'{"X": [[1e39, 1]]}', "finite float32", {"column": 1}, id="beyond float32"),
        pytest.param(b'{"X": [[1, 1' + b"0" * 400 + b"]]}", "float32", {"column": 2}, id="an integer beyond any float"),
    ],
)
def test_a_bad_body_is_refused_with_its_place(body, detail, members):
    with refused(detail) as caught:
        decode(body)

    assert members.items() <= caught.value.extra.items()


@pytest.mark.parametrize(
    ("dtype", "x", "detail"),
    [
        ("int32", [[1, 0.5]], "X: expected a whole number, got 0.5, in row 1, column 2"),
        ("int32", "1 0.5", 'X: expected a whole number, got "0.5", in row 1, column 2'),
        ("uint8", [[1, 256]], "X: expected a uint8, got 256, in row 1, column 2"),
        ("uint8", "1 -1", "expected a uint8, got -1, in row 1, column 2"),
        ("bool", [[True, 1]], "expected true or false, got 1, in row 1, column 2"),
        ("string", [["a", 1]], "expected a string, got 1, in row 1, column 2"),
        ("string", "a b", "nested lists"),
        ("bool", "1 0", "nested lists"),
        ("string", [["a", "\ud800"]], 'X: expected a valid Unicode string, got "\ud800", in row 1, column 2'),
        ("bfloat16", [[1, 10**400]], "expected a bfloat16, got 1000"),
        ("float32", [[1, [[0] * 1000]]], "expected a number, got a list of 1, in row 1, column 2"),
        ("float32", [[1, {"b64": {}}]], "expected a number, got an object, in row 1, column 2"),
        ("float16", [[1, 70000]], "expected a finite float16, got 70000, in row 1, column 2"),
    ],
)
def test_a_value_that_the_dtype_cannot_hold_is_refused(dtype, x, detail):
    with refused(detail):
        decode({"X": x}, dtype=dtype)


def test_text_is_a_table():
    np.testing.assert_array_equal(decode({"X": "1 2|3 4"}, shape=None), [[1, 2], [3, 4]])
    with refused("X must be nested lists; a string can only be a table") as caught:
        decode({"X": "1 2"}, shape=(None, 1, 2))
    assert str(caught.value).startswith("X must")
    assert caught.value.extra == {"input": "X"}


def test_an_error_repeats_only_the_beginning_of_a_long_value():
    with pytest.raises(BadRequestError) as caught:
        decode({"X": [["x" * 10_000, 1]]})

    assert len(str(caught.value)) < 200


def test_ragged_rows_are_refused_where_the_width_may_vary():
    with pytest.raises(BadRequestError, match="expected 3 columns, got 2, in row 2"):
        decode({"X": [[1, 2, 3], [1, 2]]}, shape=(None, None))


def test_a_ragged_cube_is_refused():
    with refused("X: expected 2 values, got 1, in row 1, column 2."):
        decode({"X": [[[1, 2], [3]]]}, shape=(None, 2, None))


def test_a_model_with_two_inputs_is_refused():
    with pytest.raises(BadRequestError, match="has 2: a, b"):
        x_labels.decode(b'{"X": "1 0"}', signature(a=spec(), b=spec()))


@pytest.mark.parametrize(
    ("array", "text"),
    [
        pytest.param(np.array([[0.98827], [0.0114]], np.float32), "[[0.98827],[0.0114]]", id="float32"),
        pytest.param(np.array([[1e-10], [3e38]], np.float32), "[[1e-10],[3e+38]]", id="exponents"),
        pytest.param(np.array([0.1], np.float16), "[0.1]", id="float16"),
        pytest.param(np.array([0.5, 2], spec("bfloat16").dtype), "[0.5,2.0]", id="bfloat16"),
        pytest.param(np.array([0.1, 1 / 3]), "[0.1,0.3333333333333333]", id="float64"),
        pytest.param(np.array(0.5, np.float32), "0.5", id="rank 0"),
        pytest.param(np.zeros((0, 1), np.float32), "[]", id="no rows"),
        pytest.param(np.array([[1], [-2]], np.int64), "[[1],[-2]]", id="integers"),
        pytest.param(np.array([True, False]), "[true,false]", id="booleans"),
        pytest.param(np.array([["ü".encode()], [b"'"]], object), '[["\\u00fc"], ["\'"]]', id="strings"),
        pytest.param(np.array([b"a\0", b"bc"], object), '["a\\u0000", "bc"]', id="a string that ends with NUL"),
        pytest.param(np.empty((2, 0), object), "[[], []]", id="rows of no strings"),
        pytest.param(np.empty((0, 2), object), "[]", id="no rows of strings"),
        pytest.param(np.array([b"\xff"], object), '["\\ufffd"]', id="a string that is not UTF-8"),
    ],
)
def test_labels_have_only_the_digits_that_their_dtype_needs(array, text):
    assert x_labels.encode({"labels": array}) == f'{{"labels": {text}}}'.encode()


def test_every_float32_reads_back_as_itself():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]

    answer = json.loads(x_labels.encode({"labels": values}))

    np.testing.assert_array_equal(np.array(answer["labels"], np.float32), values)


def test_several_outputs_are_answered_by_name():
    outputs = {"a": np.array([1], np.int32), "b": np.array([0.5], np.float32)}

    assert json.loads(x_labels.encode(outputs)) == {"labels": {"a": [1], "b": [0.5]}}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_json_cannot_represent_is_an_error(value):
    with pytest.raises(PredictionError, match="Output 'labels' contains NaN or Infinity"):
        x_labels.encode({"labels": np.array([[value]], np.float32)})
