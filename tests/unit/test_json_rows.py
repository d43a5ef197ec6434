"""Large bodies of numbers are read in pieces, with the same values and errors as small ones, which are read whole."""

import json

import numpy as np
import pytest

from serving.errors import BadRequestError
from serving.wire import json_rows, tf_serving, x_labels
from tests.unit.specs import refused, signature, spec

ROWS = np.random.default_rng(0).standard_normal((9000, 3)).astype(np.float32)
CUBE = np.random.default_rng(1).random((500, 20, 4)).astype(np.float32)


def large(rows, **dumps):
    return json.dumps({"X": rows}, **dumps).encode()


def decode(body, shape=(None, 3), dtype="float32"):
    return x_labels.decode(body, signature(X=spec(dtype, shape)))["X"]


@pytest.mark.parametrize("dumps", [{}, {"separators": (",", ":")}, {"indent": 1}], ids=["spaces", "dense", "indented"])
@pytest.mark.parametrize("rows", [ROWS, CUBE, ROWS.ravel()], ids=["table", "cube", "line"])
def test_large_bodies_are_read_exactly(rows, dumps):
    body, shape = large(rows.tolist(), **dumps), (None, *rows.shape[1:])
    in_pieces = json_rows.parse(body)["X"].to_tensor(spec("float32", shape))

    for array in (in_pieces, decode(body, shape)):
        np.testing.assert_array_equal(array, rows)
        assert array.dtype == np.float32


def test_only_large_bodies_of_numbers_are_read_in_pieces():
    assert json_rows.parse(large([[1, 2, 3]])) is None
    assert json_rows.parse(large([["1"]] * 9000)) is None
    assert json_rows.parse(large([[True]] * 9000)) is None
    assert json_rows.parse(large([[None]] * 9000)) is None
    rows = json_rows.parse(large(ROWS.tolist()))["X"]
    assert isinstance(rows, json_rows.NumberRows)


def test_whole_numbers_and_floats_may_be_mixed():
    rows = [[1, 0.5, -2]] * 9000

    np.testing.assert_array_equal(decode(large(rows)), np.array(rows, np.float32))


@pytest.mark.parametrize("text", ["1 0 1|1 1 0.5", "-1e-3 .5 7."])
def test_large_texts_are_read_exactly(text):
    whole = "|".join([text] * 30_000)

    expected = np.array([[float(word) for word in row.split()] for row in whole.split("|")], np.float32)
    np.testing.assert_array_equal(decode(json.dumps({"X": whole}).encode()), expected)


BAD = 8000  # a row beyond the first piece; rows count from 1


def broken(value):
    rows = ROWS.tolist()
    rows[BAD - 1] = value
    return rows


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (large(broken([1, 2])), f"expected 3 columns, got 2, in row {BAD}."),
        (large(broken([1, "2", 3])), f'expected a number, got "2", in row {BAD}, column 2.'),
        (large(broken([1, True, 3])), f"expected a number, got true, in row {BAD}, column 2."),
        (large(broken([1, None, 3])), f"expected a number, got null, in row {BAD}, column 2."),
        (large(broken([1, 1e39, 3])), f"expected a finite float32, got 1e+39, in row {BAD}, column 2."),
        (large(broken([1, float("nan"), 3])), f"expected a finite float32, got NaN, in row {BAD}, column 2."),
        (large(broken([[1], 2, 3])), f"expected a number, got [1], in row {BAD}, column 1."),
        (large(broken(7)), f"got 7, in row {BAD}."),
        (large(broken([])), f"expected 3 columns, got 0, in row {BAD}."),
        (large(ROWS.tolist())[:-2] + b",]}", "The body is not JSON"),
        (large(ROWS.tolist()).replace(b"], [", b"],, [", 1), "The body is not JSON"),
        (large(ROWS.tolist())[:-2] + b"}", "The body is not JSON"),
        (large(ROWS.tolist()) + b"]", "The body is not JSON"),
        (large(ROWS.tolist()).replace(b'"X"', b'"Y"'), 'no member "X"'),
        (json.dumps({"X": "|".join(["1 2 3"] * 60_000 + ["1 x 3"])}).encode(), 'got "x", in row 60001, column 2.'),
    ],
)
def test_errors_are_those_of_small_bodies_and_count_rows_from_the_first(body, says):
    with refused(says):
        decode(body)


def test_brackets_in_strings_are_ignored():
    body = b'{"a[": 1, "X": ' + json.dumps(ROWS.tolist()).encode() + b"}"

    np.testing.assert_array_equal(decode(body), ROWS)


def test_other_dtypes_keep_their_own_checks():
    rows = [[1, 2, 3]] * 9000

    assert decode(large(rows), dtype="int32").dtype == np.int32
    with pytest.raises(BadRequestError, match=r"whole number, got 0\.5"):
        decode(large([[1, 2, 0.5]] * 9000), dtype="int32")


@pytest.mark.parametrize(("member", "by_rows"), [("instances", True), ("inputs", False)])
def test_large_bodies_in_tensorflow_servings_format_are_read_exactly(member, by_rows):
    signatures = {"serving_default": signature(X=spec("float32", (None, 3))), "other": signature(z=spec("float32", ()))}
    body = {"signature_name": "serving_default", member: ROWS.tolist()}

    request = tf_serving.decode_predict(json.dumps(body).encode(), signatures)

    np.testing.assert_array_equal(request.feeds["X"], ROWS)
    assert (request.signature, request.by_rows) == ("serving_default", by_rows)
    with pytest.raises(BadRequestError, match="not found in signature def"):
        tf_serving.decode_predict(json.dumps({**body, "signature_name": "no"}).encode(), signatures)
    with pytest.raises(BadRequestError, match="only one of"):
        tf_serving.decode_predict(json.dumps({"instances": ROWS.tolist(), "inputs": 1}).encode(), signatures)
