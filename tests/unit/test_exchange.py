"""A request's parts: where they are run, and what is counted of them."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from serving.errors import BodyTooLargeError, MethodNotAllowedError, UnsupportedMediaTypeError
from serving.exchange import Exchange
from serving.preprocessing import NONE
from serving.stopwatch import Stopwatch

MIB = 1024 * 1024


def exchange(body=b"", models=None):
    return Exchange("POST", "", {}, body, models)


def model(batch_rows):
    async def predict(feeds, signature):
        return {signature: feeds["x"]}, batch_rows

    return SimpleNamespace(predict=predict, version=7, engine="litert", preprocessing=NONE)


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
        (lambda one: one.limit_body(5), None, "", {}),
        (
            lambda one: one.limit_body(4),
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

    async def load(*name):
        asked.append(name)
        return model(1)

    loaded = {("a", 2): model(1)}
    models = SimpleNamespace(loaded=lambda *name: loaded.get(name), load=load)
    first, second = exchange(models=models), exchange(models=models)

    assert asyncio.run(first.model("a", 2)) is loaded["a", 2]
    asyncio.run(second.model("b", 3))

    assert (first.facts, list(first.stopwatch.laps)) == ({"model": "a", "version": 7, "engine": "litert"}, [])
    assert (second.facts, list(second.stopwatch.laps)) == ({"model": "b", "version": 7, "engine": "litert"}, ["load"])
    assert asked == [("b", 3)]
