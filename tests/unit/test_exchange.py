"""A request's parts: where they are run, and what is counted of them."""

import asyncio
import gzip
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from serving.budget import Budget, Share
from serving.errors import (
    BadRequestError,
    BodyTooLargeError,
    BusyError,
    MethodNotAllowedError,
    UnsupportedMediaTypeError,
)
from serving.exchange import Exchange
from serving.preprocessing.fitted import NONE
from serving.stopwatch import Stopwatch

MIB = 1024 * 1024


def exchange(body=b"", models=None):
    return Exchange("POST", "", {}, body, models)


def model(batch_rows, preprocessing=NONE):
    async def predict(feeds, signature):
        return {signature: feeds["x"]}, batch_rows

    return SimpleNamespace(predict=predict, version=7, engine="litert", preprocessing=preprocessing)


@pytest.mark.parametrize(
    ("ask", "kind", "says", "members"),
    [
        (lambda one: one.allow("POST"), None, "", {}),
        (
            lambda one: one.allow("GET", "HEAD"),
            MethodNotAllowedError,
            "Method POST is not allowed; use GET or HEAD.",
            {},
        ),
        (lambda one: one.accept_body(5), None, "", {}),
        (
            lambda one: one.accept_body(4),
            BodyTooLargeError,
            "The request body is 5 bytes; the limit is 4.",
            {"limit": 4},
        ),
    ],
)
def test_a_method_and_a_size_are_allowed_or_refused(ask, kind, says, members):
    one = exchange(b"12345")

    if kind is None:
        ask(one)
        return
    with pytest.raises(kind) as caught:
        ask(one)
    assert (str(caught.value), caught.value.extra) == (says, members)
    assert getattr(caught.value, "allow", "GET, HEAD") == "GET, HEAD"


MEMBERS = gzip.compress(b"one") + gzip.compress(b"two")


@pytest.mark.parametrize(
    ("encoding", "body", "limit", "expected"),
    [
        ("gzip", gzip.compress(b"content"), 100, b"content"),
        (" X-GZIP ", gzip.compress(b"content"), 100, b"content"),
        ("gzip", MEMBERS, 100, b"onetwo"),
        ("identity", b"content", 100, b"content"),
        ("gzip", gzip.compress(bytes(1000)), 1000, bytes(1000)),
        ("gzip", gzip.compress(bytes(1001)), 1000, BodyTooLargeError),
        ("gzip", gzip.compress(bytes(600)) * 2, 1000, BodyTooLargeError),
        ("gzip", gzip.compress(b"content")[:-1], 100, BadRequestError),
        ("gzip", gzip.compress(b"") * 101, 100, BadRequestError),  # each takes time
        ("gzip", b"content", 100, BadRequestError),
        ("br", b"content", 100, UnsupportedMediaTypeError),
        ("gzip, gzip", gzip.compress(gzip.compress(b"content")), 100, UnsupportedMediaTypeError),
    ],
)
def test_a_compressed_body_is_read_up_to_the_limit(encoding, body, limit, expected):
    one = exchange(body)

    if isinstance(expected, bytes):
        asyncio.run(one.undo_encoding(encoding, limit))
        assert one.body == expected
        return
    with pytest.raises(expected):
        asyncio.run(one.undo_encoding(encoding, limit))


def test_a_large_body_and_a_large_answer_take_memory_until_they_are_answered():
    budget = Budget(10_000_000)
    one, other = exchange(bytes(1_000_000)), exchange(bytes(2_000_000))
    one.share, other.share = Share(budget), Share(budget)

    one.accept_body(2**30)
    with pytest.raises(BusyError) as caught:
        other.accept_body(2**30)
    assert caught.value.retry_after_seconds == 1
    one.share.reserve(-2_000_000)  # half of what it has
    other.share.reserve(7_999_999)
    other.share.release()
    one.share.release()
    other.accept_body(2**30)
    with pytest.raises(BodyTooLargeError, match=r"needs 14 MB of memory; the limit is 10 MB\."):
        asyncio.run(other.encode(lambda _: b"", {"y": np.zeros(1_000_000, np.uint8)}))
    other.share.release()
    assert budget.take(budget.total)


def test_what_curl_sends_by_default_is_taken_if_it_is_json():
    one = exchange(b' {"X": "1 0"}')
    one.headers = {"content-type": "application/x-www-form-urlencoded"}

    one.expect_json()
    one.body = b"X=1+0"
    with pytest.raises(UnsupportedMediaTypeError):
        one.expect_json()


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        (None, True),
        ("", True),
        (" Application/JSON ; charset=utf-8", True),
        ("text/json", True),
        ("application/problem+json", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded; a=application/json", False),
        ("application/jsonp", False),
    ],
)
def test_a_body_that_says_it_is_not_json_is_refused(content_type, is_json):
    one = exchange()
    one.headers = {} if content_type is None else {"content-type": content_type}

    if is_json:
        one.expect_json()
        return
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        one.expect_json()
    assert str(caught.value) == f"The Content-Type is {content_type}; expected application/json."


def test_the_milliseconds_of_the_parts_are_a_server_timing_header(monkeypatch):
    monkeypatch.setattr("serving.stopwatch.perf_counter", iter([7, 7.5, 7.75]).__next__)
    watch = Stopwatch()
    watch.lap("load")
    watch.lap("parse")

    assert watch.laps == {"load": 500, "parse": 250}
    assert watch.server_timing() == "load;dur=500.000, parse;dur=250.000"


@pytest.mark.parametrize(
    ("shapes", "batch_rows", "facts"),
    [
        ([(2, 3)], 2, {"rows": 2}),
        ([(2, 3), (5,)], 5, {"rows": 5}),
        ([()], 1, {"rows": 1}),
        ([(), (3,)], 3, {"rows": 3}),
        ([(2, 3)], 3, {"rows": 2, "batch_rows": 3}),
    ],
)
def test_a_run_counts_its_rows_and_those_of_a_batch_with_others(shapes, batch_rows, facts):
    one = exchange()
    feeds = {name: np.zeros(shape) for name, shape in zip("xyz", shapes, strict=False)}

    fetches = asyncio.run(one.run(model(batch_rows), "key", feeds))

    assert fetches == {"key": feeds["x"]}
    assert one.facts == facts
    assert list(one.stopwatch.laps) == ["predict"]


@pytest.mark.parametrize(("size", "is_inline"), [(MIB - 1, True), (MIB, False)])
def test_large_bodies_are_decoded_and_encoded_in_a_thread(size, is_inline):
    one = exchange(b"x" * size)

    def where(*args, **options):
        return threading.get_ident(), args, options

    async def both():
        fetches = {"a": np.zeros(size - 8, np.uint8), "b": np.zeros(1)}
        return await one.decode(where, 1, key=2), await one.encode(where, fetches, 3, key=4), fetches

    decoded, encoded, fetches = asyncio.run(both())

    assert decoded[1:] == ((1,), {"key": 2})
    assert encoded[1:] == ((fetches, 3), {"key": 4})
    assert (decoded[0] == threading.get_ident()) is is_inline
    assert (encoded[0] == threading.get_ident()) is is_inline
    assert list(one.stopwatch.laps) == ["parse", "encode"]


def test_only_a_model_that_is_not_loaded_is_loaded_and_timed():
    asked = []

    async def load(name, version, key):
        asked.append((name, version, key()))
        return model(1)

    loaded = {("a", 2): model(1)}
    models = SimpleNamespace(loaded=lambda name, version, key: loaded.get((name, version)), load=load)
    first, second = exchange(models=models), exchange(models=models)

    assert asyncio.run(first.model("a", 2)) is loaded["a", 2]
    asyncio.run(second.model("b", 3))

    assert (first.facts, list(first.stopwatch.laps)) == ({"model": "a", "version": 7, "engine": "litert"}, [])
    assert (second.facts, list(second.stopwatch.laps)) == ({"model": "b", "version": 7, "engine": "litert"}, ["load"])
    assert asked == [("b", 3, None)]


def test_bodies_for_models_of_pictures_are_decoded_in_one_thread():
    taken = model(1, SimpleNamespace(picture=object()))
    one = exchange(b"x", SimpleNamespace(loaded=lambda name, version, key: taken))

    async def run():
        before = await one.decode(threading.get_ident)
        await one.model("shade")
        return before, await one.decode(threading.get_ident)

    before, after = asyncio.run(run())
    _, again = asyncio.run(run())
    assert before == threading.get_ident() != after == again
