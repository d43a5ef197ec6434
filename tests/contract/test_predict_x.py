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
from tests.fixtures import MODEL, PROJECT_ROOT
from tests.unit.keras_files import xor_answers
from tools.worker_host.functions_host import Request, Response
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


def server_timing(response: Response) -> list[str]:
    """Return the names of the parts in the header; fails unless it is ``name;dur=milliseconds, ...``."""
    parts = [re.fullmatch(r"(\w+);dur=\d+(\.\d+)?", part) for part in response.headers["server-timing"].split(", ")]
    return [part[1] for part in parts if part]


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


def test_numbers_are_as_short_as_float32_allows(ask: Ask) -> None:
    numbers = re.findall(r"[-\d][-+.\deE]*", ask().body.decode())

    assert len(numbers) == 2
    assert numbers == [str(np.float32(number)) for number in numbers]


def test_a_body_at_the_limit_is_answered(ask: Ask) -> None:
    assert ask(body=BODY.ljust(MAX_BODY_BYTES)).status == 200


# Problems

PROBLEMS = [
    pytest.param({"body": b'{"X": "1 0|1 zero"}'}, 400, id="bad body"),
    pytest.param({"method": "GET", "body": b""}, 405, id="another method"),
    pytest.param({"body": b" " * (MAX_BODY_BYTES + 1)}, 413, id="body over the limit"),
    pytest.param({"headers": {"Content-Type": "text/plain"}}, 415, id="another content type"),
]


@pytest.mark.parametrize(("request_", "status"), PROBLEMS)
def test_a_mistake_is_a_problem_of_rfc_9457(ask: Ask, request_: dict[str, Any], status: int) -> None:
    response = ask(**request_)

    problem = response.json()
    assert response.status == problem["status"] == request_log(response)["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert all(isinstance(problem[member], str) and problem[member] for member in ("type", "title", "detail"))


@pytest.mark.parametrize("request_", [pytest.param(case.values[0], id=case.id) for case in PROBLEMS])
def test_a_problem_reveals_nothing_about_the_server(ask: Ask, app_root: Path, request_: dict[str, Any]) -> None:
    text = ask(**request_).body.decode()

    assert not re.search(r"Traceback|\.py\b|site-packages|File \"", text)
    assert str(app_root) not in text


def test_a_problem_names_the_place_of_the_mistake(ask: Ask) -> None:
    problem = ask(body=b'{"X": "1 0|1 zero"}').json()

    assert "row 2, column 2" in problem["detail"]
    assert (problem["row"], problem["column"]) == (2, 2)


def test_a_refused_method_comes_with_the_allowed_one(ask: Ask) -> None:
    assert ask(method="GET", body=b"").headers["allow"] == "POST"


# The log


def test_an_invocation_logs_one_line_about_itself(ask: Ask) -> None:
    ask()

    line = request_log(ask())

    facts = {name: value for name, value in line.items() if not name.endswith("_ms")}
    assert facts == {"model": "parity", "version": 1, "status": 200, "rows": 2}
    assert line.keys() - facts.keys() == {"parse_ms", "predict_ms", "encode_ms"}
    assert all(isinstance(line[name], float) for name in line.keys() - facts.keys())


@pytest.mark.parametrize(
    ("body", "secret"),
    [
        pytest.param(b'{"X": "31337.25 0"}', "31337", id="answered"),
        pytest.param(b'{"X": "1 0|1 secret"}', "secret", id="refused"),
        pytest.param(b'{"secret": "1 0"}', "secret", id="without X"),
        pytest.param(b"secret", "secret", id="not JSON"),
    ],
)
def test_the_log_holds_none_of_the_data(ask: Ask, body: bytes, secret: str) -> None:
    assert secret not in "\n".join(log.message for log in ask(body=body).logs)


# The model


def test_only_the_first_request_of_a_process_loads_the_model(start_worker: StartWorker, app_root: Path) -> None:
    worker = start_worker(app_root)
    worker.load(PARITY)

    first, second = (worker.request(PARITY, body=BODY, headers=JSON) for _ in range(2))

    assert server_timing(first) == ["load", "parse", "predict", "encode"]
    assert server_timing(second) == ["parse", "predict", "encode"]


def test_first_requests_that_arrive_together_load_the_model_once(start_worker: StartWorker, app_root: Path) -> None:
    worker = start_worker(app_root, PYTHON_THREADPOOL_THREAD_COUNT="32")
    worker.load(PARITY)

    responses = worker.requests(PARITY, [Request(body=BODY, headers=JSON)] * 32)

    # Batches of other sizes may run other kernels, which differ in the last digit of a float32.
    np.testing.assert_allclose([labels(response) for response in responses], [labels(responses[0])] * 32, rtol=1e-6)
    assert len([log for log in worker.logs if log.message.startswith("Loaded model parity/1")]) == 1


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


# The example


@pytest.mark.skipif(
    not (PROJECT_ROOT / "PredictXor").exists() or not (PROJECT_ROOT / "model" / "xor").exists(),
    reason="the example app has been removed or renamed",
)
def test_the_example_answers_the_2017_request(start_worker: StartWorker) -> None:
    worker = start_worker(PROJECT_ROOT)
    worker.load("PredictXor")

    [[one], [zero]] = labels(worker.request("PredictXor", body=BODY, headers=JSON))

    assert one > 0.95
    assert zero < 0.05
