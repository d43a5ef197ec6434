"""A function of the 2017 format under Microsoft's runtime: what its clients can rely on, line by line.

Mistakes in a body have their tests in ``tests/unit/test_x_labels.py``; here is one of each status.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.conftest import StartWorker
from tests.fixtures import MODEL
from tests.unit.keras_files import xor_answers
from tools.worker_host.functions_host import Response
from tools.worker_host.messages import Level
from tools.worker_host.worker import Worker

PARITY = "PredictParity"
JSON = {"Content-Type": "application/json"}
BODY = b'{"X": "1 0|1 1"}'
MAX_BODY_BYTES = 20 * 1024 * 1024

Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def ask(worker: Worker) -> Ask:
    """Return a function that sends one request, by default of two rows."""
    worker.load(PARITY)

    def ask(method: str = "POST", body: bytes = BODY, headers: Mapping[str, str] = JSON) -> Response:
        return worker.request(PARITY, method, body=body, headers=headers)

    return ask


def labels(response: Response) -> Any:
    assert response.status == 200
    return response.json()["labels"]


def request_log(response: Response) -> dict[str, Any]:
    """Return the one structured line that an invocation has logged."""
    [line] = [log.message for log in response.logs if log.category == "serving.request"]
    fields: dict[str, Any] = json.loads(line)
    return fields


# Answers


@pytest.mark.parametrize("body", [BODY, b'{"X": [[1, 0], [1, 1]]}'], ids=["text", "lists"])
def test_rows_are_answered_with_labels(ask: Ask, body: bytes) -> None:
    response = ask(body=body)

    np.testing.assert_allclose(labels(response), xor_answers([[1, 0], [1, 1]]), rtol=1e-5)
    assert list(response.json()) == ["labels"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-model"] == "parity/1"


# Problems


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param({"body": b'{"X": "1 0|1 zero"}'}, 400, id="bad body"),
        pytest.param({"method": "GET", "body": b""}, 405, id="another method"),
        pytest.param({"body": b" " * (MAX_BODY_BYTES + 1)}, 413, id="body over the limit"),
        pytest.param({"headers": {"Content-Type": "text/plain"}}, 415, id="another content type"),
    ],
)
def test_a_mistake_is_a_problem_of_rfc_9457_that_reveals_nothing_about_the_server(ask, app_root, request_, status):
    response = ask(**request_)

    problem = response.json()
    assert response.status == problem["status"] == request_log(response)["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert all(isinstance(problem[member], str) and problem[member] for member in ("type", "title", "detail"))
    assert not re.search(r"Traceback|\.py\b|site-packages|File \"", response.body.decode())
    assert str(app_root) not in response.body.decode()


def test_the_log_holds_none_of_the_data(ask: Ask) -> None:
    bodies = [b'{"X": "31337.25 0"}', b'{"X": "1 0|1 31337x"}', b'{"31337": "1 0"}', b"31337x"]

    assert not [log for body in bodies for log in ask(body=body).logs if "31337" in log.message]


# The model


def test_a_missing_model_is_503_until_it_is_there(start_worker: StartWorker, app_root: Path, tmp_path: Path) -> None:
    worker = start_worker(app_root, SERVING_MODEL_PATH=str(tmp_path))
    worker.load(PARITY)

    response = worker.request(PARITY, body=BODY, headers=JSON)

    assert response.status == response.json()["status"] == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["content-type"] == "application/problem+json"
    assert str(tmp_path) not in response.body.decode()
    [log] = [log for log in response.logs if log.category == "serving" and log.level == Level["Error"]]
    assert str(tmp_path) in log.message

    shutil.copytree(MODEL, tmp_path / "parity")
    assert worker.request(PARITY, body=BODY, headers=JSON).status == 200
