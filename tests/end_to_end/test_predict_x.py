"""A function of the 2017 format as its clients call it: a real HTTP client and the real host."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx
import numpy as np
import pytest

from tests.end_to_end.conftest import StartHost
from tests.end_to_end.running_host import RunningHost
from tests.fixtures import PROJECT_ROOT
from tests.unit.keras_files import xor_answers

JSON = {"Content-Type": "application/json"}
ROWS = '{"X": "1 0|1 1"}'

Ask = Callable[..., httpx.Response]


def post(
    host: RunningHost, content: str | bytes = ROWS, headers: dict[str, str] = JSON, function: str = "PredictParity"
) -> httpx.Response:
    return httpx.post(f"{host.url}/api/{function}", content=content, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def ask(app_host: RunningHost) -> Ask:
    """Return a function that posts a body to the running app."""
    return lambda content=ROWS, headers=JSON: post(app_host, content, headers)


@pytest.mark.parametrize("body", [ROWS, '{"X": [[1, 0], [1, 1]]}'], ids=["text", "lists"])
@pytest.mark.parametrize("headers", [JSON, {}], ids=["with a content type", "without"])
def test_rows_are_answered_with_labels(ask: Ask, body: str, headers: dict[str, str]) -> None:
    response = ask(body, headers)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-model"] == "parity/1"
    np.testing.assert_allclose(response.json()["labels"], xor_answers([[1, 0], [1, 1]]), rtol=1e-5)


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        pytest.param({"content": '{"X": "1 0|1"}'}, 400, "in row 2", id="bad body"),
        pytest.param({"content": ROWS, "headers": {"Content-Type": "text/csv"}}, 415, "text/csv", id="content type"),
        pytest.param({"content": b"0" * (20 * 1024 * 1024 + 1)}, 413, "20971520", id="body over the limit"),
    ],
)
def test_a_mistake_is_a_problem(ask: Ask, request_: dict[str, object], status: int, detail: str) -> None:
    response = ask(**request_)

    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/problem+json")
    assert detail in response.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_method_is_refused_with_the_allowed_one(app_host: RunningHost, method: str) -> None:
    response = httpx.request(method, f"{app_host.url}/api/PredictParity")

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_ten_thousand_rows_are_answered_in_order(ask: Ask) -> None:
    rows = [[index % 2, 1] for index in range(10_000)]

    labels = ask(json.dumps({"X": rows})).json()["labels"]

    assert [round(label) for [label] in labels] == [1 - row[0] for row in rows]


def test_first_requests_that_arrive_together_load_the_model_once(start_host: StartHost, app_root: Path) -> None:
    host = start_host(app_root, PYTHON_THREADPOOL_THREAD_COUNT="32")
    barrier = Barrier(32)

    def request(_: int) -> httpx.Response:
        barrier.wait()
        return post(host)

    assert host.url
    with ThreadPoolExecutor(32) as pool:
        responses = list(pool.map(request, range(32)))

    assert [response.status_code for response in responses] == [200] * 32
    labels = [response.json()["labels"] for response in responses]
    # Batches of other sizes may run other kernels, which differ in the last digit of a float32.
    np.testing.assert_allclose(labels, [labels[0]] * 32, rtol=1e-6)
    assert any("load;dur=" in response.headers["server-timing"] for response in responses)
    assert host.log.count("Loaded model parity/1") == 1


def test_the_python_engine_gives_the_same_answer(start_host: StartHost, app_root: Path, ask: Ask) -> None:
    host = start_host(app_root, SERVING_ENGINE="python")

    np.testing.assert_allclose(post(host).json()["labels"], ask().json()["labels"], rtol=1e-6)


@pytest.mark.skipif(
    not (PROJECT_ROOT / "PredictXor").exists() or not (PROJECT_ROOT / "model" / "xor").exists(),
    reason="the example app has been removed or renamed",
)
def test_the_example_answers_the_2017_request(start_host: StartHost) -> None:
    response = post(start_host(PROJECT_ROOT), '{"X": "0 0|0 1|1 0|1 1"}', function="PredictXor")

    assert response.headers["x-model"].startswith("xor/")
    np.testing.assert_allclose(response.json()["labels"], [[0], [1], [1], [0]], atol=0.05)
