"""Requests and responses of a function: statuses, headers, problems, timings and the log line."""

import asyncio
import json
import logging
import re

import azure.functions as func
import numpy as np
import pytest

from serving import http
from serving.endpoints.predict_x import PredictX
from serving.wire import x_labels


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    """A limit for bodies that a test can exceed."""
    monkeypatch.setenv("SERVING_MAX_BODY_BYTES", "1000")


def post(body='{"X": "1 2|0.5 0.25"}', method="POST", model="adder", **headers):
    return asyncio.run(http.handle(request_of(body, method, **headers), PredictX(model)))


def request_of(body, method="POST", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    body = body if isinstance(body, bytes) else body.encode()
    return func.HttpRequest(method=method, url="https://app/api/Adder", headers=headers, body=body)


def problem(response):
    assert response.mimetype == "application/problem+json"
    body = json.loads(response.get_body())
    assert body["type"] == "about:blank"
    assert body["status"] == response.status_code
    return body


@pytest.mark.usefixtures("adder")
def test_a_prediction_is_answered_as_json_with_model_and_version():
    response = post()

    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.get_body() == b'{"labels": [[3.0],[0.75]]}'
    assert response.headers["X-Model"] == "adder/3"


@pytest.mark.usefixtures("adder")
def test_server_timing_has_load_on_the_first_request_only():
    part = r"{};dur=\d+\.\d{{3}}"
    first, second = (post().headers["Server-Timing"] for _ in range(2))

    assert re.fullmatch(", ".join(map(part.format, ("load", "parse", "predict", "encode"))), first)
    assert re.fullmatch(", ".join(map(part.format, ("parse", "predict", "encode"))), second)


@pytest.mark.usefixtures("adder")
@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "text/json", "application/x+json", ""]
)
def test_json_content_types_and_a_missing_one_are_taken(content_type):
    assert post(content_type=content_type).status_code == 200
    assert post().status_code == 200


@pytest.mark.usefixtures("adder")
@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "application/jsonp"])
def test_another_content_type_is_415(content_type):
    response = post(content_type=content_type)

    assert problem(response)["title"] == "Unsupported Media Type"
    assert response.status_code == 415
    assert f"{content_type}; expected application/json" in problem(response)["detail"]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_405_and_says_which_is_right(method):
    response = post(method=method)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert method in problem(response)["detail"]


@pytest.mark.usefixtures("models")
def test_a_body_over_the_limit_is_413_before_it_is_read():
    response = post(b"x" * 1001)

    assert response.status_code == 413
    assert "1001 bytes; the limit is 1000" in problem(response)["detail"]


@pytest.mark.usefixtures("adder")
def test_a_body_of_just_the_limit_is_read():
    assert post('{"X": "1 2"}'.ljust(1000)).status_code == 200


@pytest.mark.usefixtures("adder")
def test_a_bad_body_is_400_with_the_place_of_the_mistake():
    response = post('{"X": "1 2|3"}')

    assert response.status_code == 400
    assert problem(response) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "X: expected 2 columns, got 1, in row 2.",
        "input": "X",
        "expected": 2,
        "got": 1,
        "row": 2,
    }
    assert response.headers["X-Model"] == "adder/3"


@pytest.mark.usefixtures("models")
def test_a_model_that_cannot_be_loaded_is_503_and_the_next_request_tries_again(request):
    response = post()

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert problem(response)["detail"] == "Model adder could not be loaded; the server's log says why."

    request.getfixturevalue("adder")
    assert post().status_code == 200


@pytest.mark.usefixtures("adder")
def test_a_bad_app_setting_is_500_and_named_in_the_log(monkeypatch, caplog):
    monkeypatch.setenv("SERVING_ENGINE", "gpu")

    response = post()

    assert response.status_code == 500
    assert "SERVING_ENGINE is 'gpu'" in caplog.text


def test_values_that_the_graph_refuses_are_400(put, tf):
    put("lookup", lambda x: tf.gather([1.0, 2.0], x), [None, 1], "int32")

    response = post('{"X": "5"}', model="lookup")

    assert response.status_code == 400
    assert "5 is not in [0, 2)" in problem(response)["detail"]


def test_an_answer_that_json_cannot_carry_is_500_and_logged(put, tf, caplog):
    put("log", tf.math.log, [None, 1])

    response = post('{"X": "-1"}', model="log")

    assert response.status_code == 500
    assert "NaN or Infinity" in problem(response)["detail"]
    assert "Model log failed" in caplog.text


@pytest.mark.usefixtures("adder")
def test_an_unexpected_error_is_500_without_its_text_and_logged_with_it(monkeypatch, caplog):
    def fail(outputs, classifier):
        raise RuntimeError("secret detail in /a/path")

    monkeypatch.setattr(x_labels, "encode", fail)

    response = post()

    assert response.status_code == 500
    assert b"secret" not in response.get_body()
    assert "secret detail" in caplog.text
    assert (
        '"status":500,"model":"adder","version":3,"engine":"tensorflow","rows":2,"error":"RuntimeError"'
        in caplog.records[-1].getMessage()
    )
    assert (caplog.records[-1].name, caplog.records[-1].levelname) == ("serving.request", "ERROR")


ADDER = {"model": "adder", "version": 3, "engine": "tensorflow"}


@pytest.mark.usefixtures("adder")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"X": "41 42"}', {**ADDER, "status": 200, "rows": 1}),
        ('{"X": "41 42|x y"}', {**ADDER, "status": 400, "error": "BadRequestError"}),
    ],
    ids=["answered", "refused"],
)
def test_one_log_line_of_json_tells_the_outcome_and_nothing_of_the_data(caplog, body, expected):
    post()
    caplog.clear()
    caplog.set_level(logging.INFO, "serving.request")

    response = post(body)

    [record] = [record for record in caplog.records if record.name == "serving.request"]
    assert record.levelname == "INFO"
    line = json.loads(record.getMessage())
    timings = {key: value for key, value in line.items() if key.endswith("_ms")}
    assert {key: value for key, value in line.items() if key not in timings} == expected
    assert all(isinstance(value, float) for value in timings.values())
    if response.status_code == 200:
        assert list(timings) == ["parse_ms", "predict_ms", "encode_ms"]
    assert "41" not in json.dumps({**line, **dict.fromkeys(timings)})


def test_an_answer_equals_the_engines(put, tf):
    put("sigmoid", tf.sigmoid, [None, 3])
    rows = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)

    response = post(json.dumps({"X": rows.tolist()}), model="sigmoid")

    labels = np.array(json.loads(response.get_body())["labels"], np.float32)
    np.testing.assert_array_equal(labels, tf.sigmoid(rows))


# --- batches ---


@pytest.fixture
def ask_together(put, tf, monkeypatch):
    """Return a function that sends requests at once to a model which looks rows of ten numbers up, by index."""
    table = tf.range(10.0)
    put("table", lambda x: tf.gather(table, x), [None, 1], "int32")

    def ask(setting, *bodies):
        monkeypatch.setenv("SERVING_BATCH_ROWS", setting)
        post('{"X": [[0]]}', model="table")  # loads it

        async def together():
            return await asyncio.gather(*(http.handle(request_of(body), PredictX("table")) for body in bodies))

        return asyncio.run(together())

    return ask


def test_a_bad_request_in_a_batch_is_its_senders_alone(ask_together):
    responses = ask_together("table=8", '{"X": [[1]]}', '{"X": [[99]]}', '{"X": [[2], [3]]}', '{"X": "4|x"}')

    assert [response.status_code for response in responses] == [200, 400, 200, 400]
    assert responses[0].get_body() == b'{"labels": [[1.0]]}'
    assert "can't take these values" in problem(responses[1])["detail"]
    assert responses[2].get_body() == b'{"labels": [[2.0],[3.0]]}'


@pytest.mark.parametrize(("setting", "runs_together"), [("table=8", True), ("8", False), ("8, table=0", False)])
def test_a_model_without_proof_of_independent_rows_is_batched_only_by_its_name(
    ask_together, caplog, setting, runs_together
):
    caplog.set_level(logging.INFO, "serving.request")

    responses = ask_together(setting, *(f'{{"X": [[{n}]]}}' for n in range(6)))

    assert [json.loads(response.get_body())["labels"] for response in responses] == [[[float(n)]] for n in range(6)]
    batches = [json.loads(record.message).get("batch_rows", 1) for record in caplog.records if record.message[0] == "{"]
    assert (max(batches) > 1) is runs_together


def test_a_model_with_two_inputs_is_logged_once_for_the_owner(tf, models, saved_model, caplog):
    row = ([None, 2], tf.float32)
    folder = saved_model(lambda a, b: {"y": a + b}, a=row, b=row)
    (models / "two").mkdir()
    folder.rename(models / "two" / "1")
    endpoint = PredictX("two")

    answers = [asyncio.run(http.handle(request_of('{"X": [[1, 2]]}'), endpoint)).status_code for _ in range(2)]

    assert answers == [400, 400]
    said = "Model two/1 has the inputs a, b; the 2017 format takes one input. Use the other protocols for it"
    assert [record.getMessage() for record in caplog.records].count(said) == 1
