"""Many clients at once with good and bad requests: each gets its own answer. And bodies near the limit."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.end_to_end.running_host import RunningHost

CLIENTS = 16
REQUESTS = 25


def the_rows(client: int, request: int) -> np.ndarray:
    """Rows that no other request has, one to five of them."""
    random = np.random.default_rng(client * REQUESTS + request)
    return random.random((1 + (client + request) % 5, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def alone(app_host: RunningHost) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that answers rows when no other client asks, so never in a batch with others."""

    def labels(rows: np.ndarray) -> np.ndarray:
        response = httpx.post(f"{app_host.url}/api/v1/models/parity:predict", json={"instances": rows.tolist()})
        return np.array(response.json()["predictions"])

    return labels


def ask(http: httpx.Client, url: str, client: int) -> list[np.ndarray]:
    """Send a client's requests by the three protocols in turn, each after a bad one; return all labels."""
    answers = []
    for request in range(REQUESTS):
        rows = the_rows(client, request)
        bad = http.post(f"{url}/api/PredictParity", json={"X": [*rows.tolist(), [1, 2, 3]]})
        assert bad.status_code == 400
        assert f"got 3, in row {len(rows) + 1}" in bad.json()["detail"]
        match request % 3:
            case 0:
                labels = http.post(f"{url}/api/PredictParity", json={"X": rows.tolist()}).json()["labels"]
            case 1:
                body = {"instances": rows.tolist()}
                labels = http.post(f"{url}/api/v1/models/parity:predict", json=body).json()["predictions"]
            case _:
                tensor = {"name": "X", "datatype": "FP32", "shape": rows.shape, "data": rows.ravel().tolist()}
                [output] = http.post(f"{url}/api/v2/models/parity/infer", json={"inputs": [tensor]}).json()["outputs"]
                labels = np.reshape(output["data"], output["shape"])
        answers.append(np.array(labels))
    return answers


def test_each_of_many_clients_gets_the_answers_to_its_own_rows(app_host, alone):
    def client(number: int) -> list[np.ndarray]:
        with httpx.Client(timeout=60) as http:
            return ask(http, app_host.url, number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(client, range(CLIENTS)))

    for number, of_client in enumerate(answers):
        for request, labels in enumerate(of_client):
            np.testing.assert_allclose(labels, alone(the_rows(number, request)), atol=1e-6)


@pytest.mark.parametrize("kind", ["lists", "text"])
def test_a_body_near_the_limit_is_answered(app_host: RunningHost, kind: str) -> None:
    count = 450_000
    rows = np.random.default_rng(0).random((count, 2))
    values = rows.tolist() if kind == "lists" else "|".join(f"{x} {y}" for x, y in rows)
    body = json.dumps({"X": values})
    assert 15 * 2**20 < len(body) < 20 * 2**20

    response = httpx.post(
        f"{app_host.url}/api/PredictParity", content=body, headers={"Content-Type": "application/json"}, timeout=60
    )

    assert response.status_code == 200
    labels = response.json()["labels"]
    assert len(labels) == count
    few = httpx.post(f"{app_host.url}/api/PredictParity", json={"X": rows[-3:].tolist()}).json()["labels"]
    np.testing.assert_allclose(labels[-3:], few, atol=1e-6)
