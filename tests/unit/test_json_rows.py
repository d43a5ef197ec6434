"""Large bodies of numbers are read in pieces, with the same values and errors as small ones, which are read whole."""

import gc
import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from serving.errors import BadRequestError, BodyTooLargeError
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

    assert isinstance(json_rows.parse(body)["X"], json_rows.NumberRows)
    array = decode(body, shape)
    np.testing.assert_array_equal(array, rows)
    assert array.dtype == np.float32


def test_only_large_bodies_are_read_in_pieces_and_none_that_has_objects():
    assert json_rows.parse(large([[1, 2, 3]])) is None
    assert json_rows.parse(large([{"x": 1}] * 9000)) is None
    rows = json_rows.parse(large(ROWS.tolist()))["X"]
    assert isinstance(rows, json_rows.NumberRows)


def lists(text):
    body = text.encode()
    return json_rows.NumberRows(body, 0, len(body))


def fail_on(shape, first):
    pytest.fail(f"lists of shape {shape} were refused")


@pytest.mark.parametrize(
    "text",
    [
        *("[[1,2],[3]]", "[[1],[2,3]]", "[[1,2],[3,4],5]", "[[1,2]]]", "[[[1,2]]", "[1],[2]", "[[1,2],]", "[[]]"),
        *("[]", "[[],[]]", "[1[2,3],[4,5]]", "[[1,2]3,[4,5]]", "[-[1]]", "[1 2]", "[1,,2]", "[1,]", "[01]"),
        *('["a b"]', '["a[",1]', '["]"]', "[" * 65 + "1" + "]" * 65),
    ],
)
def test_lists_that_may_be_anything_else_are_left_to_the_caller(text):
    def convert(leaves, shape, first, are_numbers):
        return np.array([leaf if type(leaf) in (int, float) else 0 for leaf in leaves], np.float32)

    rows = lists(text)
    assert rows.to_tensor(spec(shape=None), convert, fail_on) is None


@pytest.mark.parametrize(
    ("text", "dtype", "known"),
    [
        ("[1, -2.5E+3,\n4e-5]", "float32", True),
        ("[[1,2],[3,4]]", "bfloat16", True),
        ("[1,2]", "int32", False),
        ("[1,true]", "float32", False),
        ("[1,null]", "float32", False),
        ('[1,"2"]', "float32", False),
        ("[1,NaN]", "float32", False),
    ],
)
def test_types_need_no_look_where_the_text_has_only_numbers(text, dtype, known):
    seen = []

    def convert(leaves, shape, first, are_numbers):
        seen.append(are_numbers)
        return np.zeros(len(leaves), spec(dtype).dtype)

    lists(text).to_tensor(spec(dtype, shape=None), convert, fail_on)

    assert seen == [known]


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 1), (1, 5), (5, 1), (2, 3, 4), (1, 1, 1), (3, 1, 2, 2)])
def test_the_shape_is_that_of_the_lists(shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    rows = lists(json.dumps(array.tolist(), indent=1))

    found = rows.to_tensor(spec(shape=None), lambda leaves, *_: np.array(leaves, np.float32), fail_on)
    np.testing.assert_array_equal(found, array)


WRONG = {
    "a string": [[1, 2, "x"]],
    "NaN": [[1, 2, float("nan")]],
    "null": [[1, 2, None]],
    "columns": [[1, 2]],
    "levels": [[[1, 2, 3]]],
}


@pytest.mark.parametrize("member", ["X", "instances"])
@pytest.mark.parametrize("row", WRONG)
def test_an_error_takes_no_more_memory_than_an_answer(member, row):
    body = json.dumps({member: ([[1, 2, 3]] * 9000 if row in ("NaN", "null", "a string") else []) + WRONG[row] * 9000})
    one, reserve = signature(X=spec(shape=(None, 3))), partial(pytest.fail, "memory was asked for")

    if member == "X":
        with refused("X: expected"):
            x_labels.decode(body.encode(), one, reserve)
    elif row == "NaN":  # which TensorFlow Serving takes
        tf_serving.decode_predict(body.encode(), {"serving_default": one}, reserve)
    else:
        with refused("X: "):
            tf_serving.decode_predict(body.encode(), {"serving_default": one}, reserve)


@pytest.mark.parametrize("shape", [(None, 2), (None, 0), (None,), (), (None, 2, 2)])
@pytest.mark.parametrize(
    "lists",
    [
        *("[]", "[[]]", "[[],[]]", "[1]", "[1,0]", "[[1]]", "[[1,0]]", "[[1,2,3]]", "[[1,2,3,4,5]]", "[[[1,0],[1,1]]]"),
        *('["x"]', '["a,b"]', '[["a,b",1]]', '[["a],[b",1]]', '[["\\",\\"",1]]', '[["",""],["",""]]', "[[NaN,1,2]]"),
    ],
)
def test_lists_in_a_large_body_are_answered_as_in_a_small_one(lists, shape):
    one = signature(X=spec(shape=shape))

    def outcome(body: str) -> Any:
        try:
            return x_labels.decode(body.encode(), one)["X"].tolist()
        except BadRequestError as error:
            return str(error)

    assert outcome(f'{{"X": {lists[:-1]}{" " * 17_000}{lists[-1]}}}') == outcome(f'{{"X": {lists}}}')


def test_a_wrong_word_in_a_text_takes_no_more_memory_than_an_answer():
    body = json.dumps({"X": "1 2 3|" * 90_000 + "1 2 x"}).encode()

    with refused('got "x", in row 90001, column 3.'):
        x_labels.decode(body, signature(X=spec(shape=(None, 3))), partial(pytest.fail, "memory was asked for"))


def test_what_is_not_read_in_pieces_asks_for_its_memory_and_has_a_limit_of_lists():
    asked: list[int] = []
    body = large([["a"]] * 9000)

    decode_strings = x_labels.decode(body, signature(X=spec("string", (None, 1))), asked.append)
    assert decode_strings["X"].shape == (9000, 1)
    assert 100 * 9000 < sum(asked) < 400 * 9000
    with pytest.raises(BodyTooLargeError, match="has 1000003 lists and objects"):
        decode(b'{"X": [' + b"[]," * 1_000_000 + b'["x", 1]]}')
    assert gc.isenabled()


def test_nan_in_a_large_body_that_is_not_read_in_pieces_is_a_mistake_with_its_place():
    body = json.dumps({"X": ["a" * 1_100_000, float("nan")]}).encode()

    with refused("The body is not JSON: unexpected character, expected a JSON value: line 1 column 1100012"):
        x_labels.decode(body, signature(X=spec("string", (None,))))


@pytest.mark.parametrize("shape", [(None, None), None])
def test_a_long_row_of_text_is_read_in_pieces(shape):
    text = "1.5 " * 100_000

    array = decode(json.dumps({"X": text}).encode(), shape)
    assert array.shape == (1, 100_000)
    assert (array == 1.5).all()
    with refused("expected 100000 columns, got 1, in row 2."):
        decode(json.dumps({"X": text + "|1"}).encode(), shape)
    with refused('expected a number, got "x", in row 1, column 100001.'):
        decode(json.dumps({"X": text + "x"}).encode(), shape)
    with refused("expected 3 columns, got 100000, in row 1."):
        decode(json.dumps({"X": text + "|1 2 3"}).encode())


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
