"""POST api/PredictXor under Microsoft's runtime: the contract that clients of the function have, line by line."""

import json
import re
import shutil

import numpy as np
import pytest

from tests.contract.conftest import PROJECT_ROOT
from tools.worker_host.functions_host import Request
from tools.worker_host.messages import Level

XOR = "PredictXor"
JSON = {"Content-Type": "application/json"}
BODY = b'{"X": "1 0|1 1"}'
MAX_BODY_BYTES = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def ask(worker):
    """Return a function that sends PredictXor one request, by default the article's own."""
    worker.load(XOR)
    return lambda method="POST", body=BODY, headers=JSON: worker.request(XOR, method, body=body, headers=headers)


def labels(response):
    assert response.status == 200
    return response.json()["labels"]


def server_timing(response):
    """Return the names of the parts in the header; fails unless it is ``name;dur=milliseconds, ...``."""
    parts = [re.fullmatch(r"(\w+);dur=\d+(\.\d+)?", part) for part in response.headers["server-timing"].split(", ")]
    return [part[1] for part in parts]


def request_log(response):
    """Return the one structured line that an invocation has logged."""
    [line] = [log.message for log in response.logs if log.category == "serving.request"]
    return json.loads(line)


# Answers


@pytest.mark.parametrize("body", [b'{"X": "1 0|1 1"}', b'{"X": [[1, 0], [1, 1]]}'], ids=["text", "lists"])
def test_the_article_s_rows_are_labelled(ask, body):
    [[one], [zero]] = labels(ask(body=body))

    assert one > 0.95
    assert zero < 0.05


def test_the_body_has_no_other_member(ask):
    assert list(ask().json()) == ["labels"]


def test_numbers_are_as_short_as_float32_allows(ask):
    numbers = re.findall(r"[-\d][-+.\deE]*", ask().body.decode())

    assert len(numbers) == 2
    assert numbers == [str(np.float32(number)) for number in numbers]


def test_an_answer_is_json(ask):
    assert ask().headers["content-type"] == "application/json"


def test_an_answer_names_model_and_version(ask):
    assert ask().headers["x-model"] == "xor/1"


def test_an_answer_tells_what_its_parts_took(ask):
    ask()

    assert server_timing(ask()) == ["parse", "predict", "encode"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Type": "application/json; charset=utf-8"}, {"content-type": "APPLICATION/JSON"}],
    ids=["no content type", "charset", "upper case"],
)
def test_an_answer_is_given_to_a_request_with(ask, headers):
    assert ask(headers=headers).status == 200


def test_a_body_of_just_the_limit_is_answered(ask):
    assert ask(body=BODY.ljust(MAX_BODY_BYTES)).status == 200


# Problems

BAD_BODIES = {
    "empty body": b"",
    "no JSON": b"X=1 0",
    "no UTF-8": b'{"X": "1 \xff"}',
    "cut off": b'{"X": "1 0',
    "deeply nested": b"[" * 100_000,
    "array": b'["1 0"]',
    "string": b'"1 0"',
    "null": b"null",
    "no X": b'{"x": "1 0"}',
    "X null": b'{"X": null}',
    "X number": b'{"X": 1}',
    "X object": b'{"X": {"1": 0}}',
    "X empty text": b'{"X": ""}',
    "X blank text": b'{"X": " "}',
    "X empty list": b'{"X": []}',
    "X empty row": b'{"X": [[]]}',
    "X flat list": b'{"X": [1, 0]}',
    "X too deep": b'{"X": [[[1, 0]]]}',
    "ragged text": b'{"X": "1 0|1"}',
    "ragged lists": b'{"X": [[1, 0], [1]]}',
    "too many columns": b'{"X": "1 0 1"}',
    "too few columns": b'{"X": [[1]]}',
    "a word": b'{"X": "1 zero"}',
    "a string in a list": b'{"X": [[1, "0"]]}',
    "null in a list": b'{"X": [[1, null]]}',
    "NaN": b'{"X": [[1, NaN]]}',
    "Infinity": b'{"X": [[1, Infinity]]}',
    "-Infinity": b'{"X": [[1, -Infinity]]}',
    "nan in text": b'{"X": "1 nan"}',
    "inf in text": b'{"X": "1 inf"}',
    "beyond float32": b'{"X": [[1, 1e39]]}',
    "beyond float32 in text": b'{"X": "1 1e39"}',
}

PROBLEMS = [
    *(pytest.param({"body": body}, 400, id=name) for name, body in BAD_BODIES.items()),
    *(
        pytest.param({"method": method}, 405, id=method)
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
    ),
    pytest.param({"body": b" " * (MAX_BODY_BYTES + 1)}, 413, id="body over 20 MiB"),
    *(
        pytest.param({"headers": {"Content-Type": content_type}}, 415, id=content_type)
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    ),
]


@pytest.mark.parametrize(("request_", "status"), PROBLEMS)
def test_a_mistake_has_the_status(ask, request_, status):
    assert ask(**request_).status == status


@pytest.mark.parametrize(("request_", "status"), PROBLEMS)
def test_a_mistake_is_a_problem_of_rfc_9457(ask, request_, status):
    response = ask(**request_)

    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert all(isinstance(problem[member], str) and problem[member] for member in ("type", "title", "detail"))


@pytest.mark.parametrize("request_", [pytest.param(case.values[0], id=case.id) for case in PROBLEMS])
def test_a_problem_tells_nothing_of_the_server(ask, request_):
    text = ask(**request_).body.decode()

    assert not re.search(r"Traceback|\.py\b|site-packages|File \"", text)
    assert str(PROJECT_ROOT) not in text


@pytest.mark.parametrize(
    ("body", "words", "members"),
    [
        pytest.param(
            b'{"X": "1 0|1 0|1 0|1 0|1 0 1"}',
            ["expected 2", "got 3", "in row 5"],
            {"row": 5, "expected": 2, "got": 3},
            id="columns in text",
        ),
        pytest.param(
            b'{"X": [[1, 0], [1]]}',
            ["expected 2", "got 1", "in row 2"],
            {"row": 2, "expected": 2, "got": 1},
            id="columns in lists",
        ),
        pytest.param(
            b'{"X": "1 0|1 zero"}',
            ["row 2", "column 2", "zero"],
            {"row": 2, "column": 2},
            id="word in text",
        ),
        pytest.param(
            b'{"X": [[1, 0], ["one", 1]]}',
            ["row 2", "column 1", "one"],
            {"row": 2, "column": 1},
            id="word in lists",
        ),
    ],
)
def test_a_problem_says_where_it_is(ask, body, words, members):
    problem = ask(body=body).json()

    assert [word for word in words if word not in problem["detail"]] == []
    assert members.items() <= problem.items()


def test_another_method_is_told_the_right_one(ask):
    assert ask(method="GET", body=b"").headers["allow"] == "POST"


# The log


def test_an_invocation_logs_one_line_about_itself(ask):
    ask()

    line = request_log(ask())

    facts = {name: value for name, value in line.items() if not name.endswith("_ms")}
    assert facts == {"model": "xor", "version": 1, "status": 200, "rows": 2}
    assert {"parse_ms", "predict_ms", "encode_ms"} == line.keys() - facts.keys()
    assert all(isinstance(line[name], float) for name in line.keys() - facts.keys())


@pytest.mark.parametrize(("request_", "status"), PROBLEMS)
def test_a_mistake_is_logged_with_its_status(ask, request_, status):
    assert request_log(ask(**request_))["status"] == status


@pytest.mark.parametrize(
    ("body", "secret"),
    [
        pytest.param(b'{"X": "31337.25 0"}', "31337", id="answered"),
        pytest.param(b'{"X": "1 0|1 secret"}', "secret", id="refused"),
        pytest.param(b'{"secret": "1 0"}', "secret", id="without X"),
        pytest.param(b"secret", "secret", id="no JSON"),
    ],
)
def test_the_log_has_nothing_of_the_data(ask, body, secret):
    assert secret not in "\n".join(log.message for log in ask(body=body).logs)


# The model


def test_the_first_request_of_a_process_loads_the_model_and_tells_how_long_that_took(start_worker):
    worker = start_worker(PROJECT_ROOT)
    worker.load(XOR)

    first, second = (worker.request(XOR, body=BODY, headers=JSON) for _ in range(2))

    assert server_timing(first) == ["load", "parse", "predict", "encode"]
    assert "load" not in server_timing(second)


def test_first_requests_that_arrive_together_load_the_model_once(start_worker):
    worker = start_worker(PROJECT_ROOT, PYTHON_THREADPOOL_THREAD_COUNT="32")
    worker.load(XOR)

    responses = worker.requests(XOR, [Request(body=BODY, headers=JSON)] * 32)

    assert [response.status for response in responses] == [200] * 32
    # Batches of other sizes may run other kernels: the last digit of float32 is theirs.
    np.testing.assert_allclose([labels(response) for response in responses], [labels(responses[0])] * 32, rtol=1e-6)
    assert len([log for log in worker.logs if log.message.startswith("Loaded model xor/1")]) == 1


@pytest.fixture
def worker_without_model(published_app, start_worker):
    shutil.rmtree(published_app / "model" / "xor")
    worker = start_worker(published_app)
    worker.load(XOR)
    return worker


def test_a_model_that_is_not_there_is_a_problem_to_try_again_later(worker_without_model, published_app):
    response = worker_without_model.request(XOR, body=BODY, headers=JSON)

    assert response.status == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 503
    assert str(published_app) not in response.body.decode()


def test_the_log_says_why_a_model_could_not_be_loaded(worker_without_model, published_app):
    response = worker_without_model.request(XOR, body=BODY, headers=JSON)

    [log] = [log for log in response.logs if log.category == "serving" and log.level == Level["Error"]]
    assert str(published_app / "model") in log.message


def test_a_model_is_served_as_soon_as_it_is_there(worker_without_model, published_app):
    worker_without_model.request(XOR, body=BODY, headers=JSON)

    shutil.copytree(PROJECT_ROOT / "model" / "xor", published_app / "model" / "xor")

    assert worker_without_model.request(XOR, body=BODY, headers=JSON).status == 200
