"""POST api/PredictXor as the article's clients send it: a real HTTP client, the real host, the committed model."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import numpy as np
import pytest

from tests.end_to_end.running_host import PROJECT_ROOT

JSON = {"Content-Type": "application/json"}


def post(host, content, headers=JSON):
    return httpx.post(f"{host.url}/api/PredictXor", content=content, headers=headers)


@pytest.fixture(scope="module")
def answer(app_host):
    """Return a function that posts a body to the running app."""
    return lambda content, headers=JSON: post(app_host, content, headers)


@pytest.mark.parametrize("body", ['{"X": "1 0|1 1"}', '{"X": [[1, 0], [1, 1]]}'], ids=["text", "lists"])
@pytest.mark.parametrize("headers", [JSON, {}], ids=["with a content type", "without"])
def test_the_article_s_request_gets_the_article_s_answer(answer, body, headers):
    response = answer(body, headers)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-model"] == "xor/1"
    [[one], [zero]] = response.json()["labels"]
    assert one > 0.95
    assert zero < 0.05


def test_all_four_points_are_on_the_right_side(answer):
    labels = answer('{"X": "0 0|0 1|1 0|1 1"}').json()["labels"]

    assert [round(label) for [label] in labels] == [0, 1, 1, 0]


def test_floats_are_as_short_as_float32_allows(answer):
    body = answer('{"X": "1 0|1 1"}').text

    assert re.fullmatch(r'\{"labels": \[\[0\.\d{1,9}\],\[0\.\d{1,10}\]\]\}', body)


def test_server_timing_tells_what_the_parts_took(answer):
    answer('{"X": "1 0"}')

    timing = answer('{"X": "1 0"}').headers["server-timing"]

    assert re.fullmatch(r"parse;dur=[\d.]+, predict;dur=[\d.]+, encode;dur=[\d.]+", timing)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("X=1 0", "not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", 'no member "X"'),
        ('{"X": 1}', "string or a list"),
        ('{"X": ""}', "empty"),
        ('{"X": "1 0|1"}', "in row 2"),
        ('{"X": "1 0|1 0|1 0|1 0|1 0 1"}', "expected 2 columns, got 3, in row 5"),
        ('{"X": "1 zero"}', "row 1, column 2"),
        ('{"X": [[1, NaN]]}', "finite"),
    ],
)
def test_a_mistake_is_a_problem_that_says_where_it_is(answer, body, detail):
    response = answer(body)

    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/problem+json")
    assert detail in response.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_another_method_is_told_to_post(app_host, method):
    response = httpx.request(method, f"{app_host.url}/api/PredictXor")

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_another_content_type_is_refused(answer):
    assert answer('{"X": "1 0"}', {"Content-Type": "text/csv"}).status_code == 415


def test_a_body_over_the_limit_is_refused(answer):
    response = answer(b"0" * (20 * 1024 * 1024 + 1))

    assert response.status_code == 413
    assert "at most 20971520" in response.json()["detail"]


def test_ten_thousand_rows_are_answered_in_order(answer):
    rows = [[index % 2, 1] for index in range(10_000)]

    labels = answer(json.dumps({"X": rows})).json()["labels"]

    assert [round(label) for [label] in labels] == [1 - row[0] for row in rows]


def test_first_requests_that_arrive_together_load_the_model_once(start_host):
    host = start_host(PROJECT_ROOT, PYTHON_THREADPOOL_THREAD_COUNT="32")
    url, barrier = host.url, Barrier(32)

    def request(_):
        barrier.wait()
        return httpx.post(f"{url}/api/PredictXor", content='{"X": "1 0|1 1"}', headers=JSON, timeout=60)

    with ThreadPoolExecutor(32) as pool:
        responses = list(pool.map(request, range(32)))

    assert [response.status_code for response in responses] == [200] * 32
    labels = [response.json()["labels"] for response in responses]
    # Batches of other sizes may run other kernels: the last digit of float32 is theirs.
    np.testing.assert_allclose(labels, [labels[0]] * 32, rtol=1e-6)
    assert any("load;dur=" in response.headers["server-timing"] for response in responses)
    assert host.log.count("Loaded model xor/1") == 1


def test_a_missing_model_is_503_until_it_is_there(start_host, tmp_path):
    host = start_host(PROJECT_ROOT, SERVING_MODEL_PATH=tmp_path)

    response = post(host, '{"X": "1 0"}')

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert str(tmp_path) not in response.text
    host.wait_for_log(re.compile(r"No version of model 'xor'"))

    shutil.copytree(PROJECT_ROOT / "model" / "xor", tmp_path / "xor")
    assert post(host, '{"X": "1 0"}').status_code == 200


def test_the_python_engine_gives_the_same_answer(start_host, answer):
    host = start_host(PROJECT_ROOT, SERVING_ENGINE="python")

    labels = httpx.post(f"{host.url}/api/PredictXor", content='{"X": "1 0|1 1"}', headers=JSON, timeout=60).json()

    for [one], [other] in zip(labels["labels"], answer('{"X": "1 0|1 1"}').json()["labels"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)
