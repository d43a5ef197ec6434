"""The local host over HTTP: a running host that serves a few small functions."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.running_host import AppFolder, RunningHost, running_host

THREADS = 3
MAX_BODY_BYTES = 6_000_000

DESCRIBE = """
import json, os
import azure.functions as func

def main(req):
    seen = {
        "method": req.method, "url": req.url, "params": dict(req.params), "route_params": dict(req.route_params),
        "body": req.get_body().decode(), "header": req.headers.get("x-name"), "module": __name__, "cwd": os.getcwd(),
        "local_setting": os.environ["LOCAL_SETTING"], "overridden": os.environ["OVERRIDDEN"],
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json", headers={"X-Name": seen["header"] or ""})
"""
ECHO = """
import azure.functions as func
def main(req): return func.HttpResponse(req.get_body(), headers={"X-Echo": "yes"}, status_code=201)
"""
# Every call waits for the others, so all of them are answered only if all of them run at once.
TOGETHER = f"""
import threading
barrier = threading.Barrier({THREADS}, timeout=60)
def main(req): return str(barrier.wait() in range({THREADS}))
"""
LOCAL_SETTINGS = f"""
{{"Values": {{
    "LOCAL_SETTING": "from the file", "OVERRIDDEN": "no",
    "PYTHON_THREADPOOL_THREAD_COUNT": {THREADS}, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": {MAX_BODY_BYTES}
}}}}
"""
DISABLED = {"disabled": True, "bindings": [{"type": "httpTrigger", "direction": "in", "name": "req"}]}
TIMER = {"bindings": [{"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": "0 0 * * * *"}]}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    app = AppFolder(tmp_path_factory.mktemp("app"))
    app.write("local.settings.json", LOCAL_SETTINGS)
    app.add("Describe", DESCRIBE, route="models/{model}:predict")
    app.add("Echo", ECHO, methods=["post", "head"])
    app.add("Together", TOGETHER)
    app.add("Raising", "def main(req): raise ValueError('raised by the function')")
    app.add("Broken", "raise ImportError('raised by the import')")
    app.add("Logging", "import logging\ndef main(req): logging.getLogger('any').info('logged %s', 'line'); return ''")
    app.add("Disabled", ECHO, function_json=DISABLED)
    app.add("Timer", "def main(timer): pass", function_json=TIMER)
    with running_host(app.root, OVERRIDDEN="yes") as host:
        yield host


@pytest.fixture
def client(host: RunningHost) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=60) as client:
        yield client


def test_a_function_sees_the_request_in_the_app_s_own_surroundings(client: httpx.Client, host: RunningHost) -> None:
    seen = client.put("/api/models/xor:predict?a=1&b=x%20y", content="body").json()

    assert Path(seen.pop("cwd")) == host.app.resolve()
    assert seen == {
        "method": "PUT",
        "url": f"{host.url}/api/models/xor:predict?a=1&b=x%20y",
        "params": {"a": "1", "b": "x y"},
        "route_params": {"model": "xor"},
        "body": "body",
        "header": None,
        "module": "__app__.Describe",
        "local_setting": "from the file",
        "overridden": "yes",
    }


def test_headers_and_body_may_hold_any_text(client: httpx.Client) -> None:
    response = client.post("/api/models/xor:predict", content="Größe ∑", headers={b"X-Name": "Größe ∑".encode()})

    assert response.headers.raw[-3:] == [
        (b"x-name", "Größe ∑".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(response.content)).encode()),
    ]
    assert response.json()["header"] == "Größe ∑"
    assert response.json()["body"] == "Größe ∑"


def test_functions_are_called_in_several_threads_at_once(client: httpx.Client) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        answers = threads.map(lambda _: client.get("/api/Together").text, range(THREADS))

    assert list(answers) == ["True"] * THREADS


def test_a_head_request_is_answered_without_a_body(client: httpx.Client) -> None:
    response = client.request("HEAD", "/api/Echo", content=b"four")

    assert (response.headers["content-length"], response.content) == ("4", b"")


def test_a_large_body_of_bytes_is_received_and_returned_whole(client: httpx.Client) -> None:
    body = bytes(range(256)) * (MAX_BODY_BYTES // 256)

    response = client.post("/api/Echo", content=body)

    assert (response.status_code, response.headers["X-Echo"], response.content) == (201, "yes", body)


def test_a_body_of_unknown_length_is_received_whole(client: httpx.Client) -> None:
    assert client.post("/api/Echo", content=iter([b"in ", b"chunks"])).content == b"in chunks"


@pytest.mark.parametrize("in_chunks", [False, True], ids=["of declared length", "in chunks"])
def test_a_connection_stays_usable_after_a_body_over_the_limit(client: httpx.Client, in_chunks: bool) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)

    refused = client.post("/api/Echo", content=iter([body]) if in_chunks else body)

    assert (refused.status_code, refused.content) == (413, b"")
    assert client.post("/api/Echo", content=b"small").content == b"small"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 404), ("/Echo", 404), ("/api/Disabled", 404), ("/api/Raising", 500), ("/api/Broken", 500)],
)
def test_what_no_function_answers_has_an_empty_body(client: httpx.Client, path: str, status: int) -> None:
    response = client.post(path)

    assert (response.status_code, response.content) == (status, b"")


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\tDescribe: http://localhost:\d+/api/models/\{model\}:predict ",
        r"^\tTimer: timerTrigger$",
        r"^\tBroken: could not be loaded",
        r"^Function Disabled is disabled",
        r"Function Broken could not be loaded(?s:.*)Traceback(?s:.*)ImportError: raised by the import",
    ],
)
def test_the_host_reports_its_functions_when_it_starts(host: RunningHost, pattern: str) -> None:
    host.wait_for_log(re.compile(pattern, re.MULTILINE))


def test_a_function_s_log_looks_as_under_func_start(client: httpx.Client, host: RunningHost) -> None:
    client.get("/api/Logging")

    host.wait_for_log(re.compile(r"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] logged line$", re.MULTILINE))
