"""The local host as a client of HTTP functions sees it: one running host, a folder of tiny functions."""

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
import beside_the_functions

def main(req, context):
    seen = {
        "method": req.method, "url": req.url, "params": dict(req.params), "route_params": dict(req.route_params),
        "body": req.get_body().decode(), "header": req.headers.get("x-name"), "module": __name__,
        "function_name": context.function_name, "beside": beside_the_functions.VALUE, "cwd": os.getcwd(),
        "local_setting": os.environ["LOCAL_SETTING"], "environment_wins": os.environ["ENVIRONMENT_WINS"],
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json", headers={"X-Name": seen["header"] or ""})
"""
ECHO = """
import azure.functions as func
def main(req): return func.HttpResponse(req.get_body(), headers={"X-Echo": "yes"}, status_code=201)
"""
ASYNC = """
import asyncio
async def main(req):
    await asyncio.sleep(0)
    return "async"
"""
# Nobody passes the barrier alone: all answers come only if all calls are made at once.
TOGETHER = f"""
import threading
barrier = threading.Barrier({THREADS}, timeout=60)
def main(req): return str(barrier.wait() in range({THREADS}))
"""
OUT = """
import azure.functions as func
def main(req, res: func.Out[func.HttpResponse]): res.set(func.HttpResponse("out"))
"""
OUT_JSON = {
    "bindings": [
        {"type": "httpTrigger", "direction": "in", "name": "req"},
        {"type": "http", "direction": "out", "name": "res"},
    ]
}
TIMER_JSON = {"bindings": [{"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": "0 0 * * * *"}]}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    app = AppFolder(tmp_path_factory.mktemp("app"))
    app.write("beside_the_functions.py", "VALUE = 'imported from the root'")
    app.write(
        "local.settings.json",
        '{"Values": {"LOCAL_SETTING": "from the file", "ENVIRONMENT_WINS": "no",'
        f' "PYTHON_THREADPOOL_THREAD_COUNT": {THREADS}, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": {MAX_BODY_BYTES}}}}}',
    )
    app.add("Describe", DESCRIBE)
    app.add("Model", DESCRIBE, route="models/{model}:predict")
    app.add("Echo", ECHO, methods=["post", "head"], authLevel="anonymous")
    app.write("Echo/sample.dat", '{"say": "it\'s"}\n')
    app.add("Async", ASYNC)
    app.add("Together", TOGETHER)
    app.add("Out", OUT, function_json=OUT_JSON)
    app.add("Raising", "def main(req): raise ValueError('raised by the function')")
    app.add("Broken", "raise ImportError('raised by the import')\ndef main(req): return ''")
    app.add("Logging", "import logging\ndef main(req): logging.getLogger('any').info('logged %s', 'line'); return ''")
    app.add("Disabled", ECHO, function_json=OUT_JSON | {"disabled": True})
    app.add("Timer", "def main(timer): pass", function_json=TIMER_JSON)
    with running_host(app.root, ENVIRONMENT_WINS="yes") as host:
        yield host


@pytest.fixture
def client(host: RunningHost) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=60) as client:
        yield client


def test_a_function_sees_the_request(client: httpx.Client, host: RunningHost) -> None:
    seen = client.put("/api/Describe?a=1&b=x%20y", content="body").json()

    assert seen["method"] == "PUT"
    assert seen["url"] == f"{host.url}/api/Describe?a=1&b=x%20y"
    assert seen["params"] == {"a": "1", "b": "x y"}
    assert seen["route_params"] == {}
    assert seen["body"] == "body"


def test_a_function_sees_its_route_s_parameters(client: httpx.Client) -> None:
    assert client.post("/api/models/xor:predict").json()["route_params"] == {"model": "xor"}


def test_a_function_is_loaded_as_azure_s_worker_loads_it(client: httpx.Client) -> None:
    assert client.get("/api/Describe").json()["module"] == "__app__.Describe"


def test_a_function_can_import_from_the_app_s_root(client: httpx.Client) -> None:
    assert client.get("/api/Describe").json()["beside"] == "imported from the root"


def test_a_function_runs_in_the_app_s_root(client: httpx.Client, host: RunningHost) -> None:
    assert Path(client.get("/api/Describe").json()["cwd"]) == host.app.resolve()


def test_a_function_gets_its_context(client: httpx.Client) -> None:
    assert client.get("/api/Describe").json()["function_name"] == "Describe"


def test_local_settings_are_in_the_environment(client: httpx.Client) -> None:
    assert client.get("/api/Describe").json()["local_setting"] == "from the file"


def test_the_environment_wins_over_local_settings(client: httpx.Client) -> None:
    assert client.get("/api/Describe").json()["environment_wins"] == "yes"


def test_a_response_has_the_function_s_status_headers_and_body(client: httpx.Client) -> None:
    response = client.post("/api/Echo", content=b"\x00\xff")

    assert (response.status_code, response.headers["X-Echo"], response.content) == (201, "yes", b"\x00\xff")


def test_an_async_function_is_awaited(client: httpx.Client) -> None:
    assert client.get("/api/Async").text == "async"


def test_an_out_parameter_carries_the_answer(client: httpx.Client) -> None:
    assert client.get("/api/Out").text == "out"


def test_functions_are_called_in_several_threads_at_once(client: httpx.Client) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        answers = threads.map(lambda _: client.get("/api/Together").text, range(THREADS))

    assert list(answers) == ["True"] * THREADS


def test_headers_and_body_may_hold_any_text(client: httpx.Client) -> None:
    response = client.post("/api/Describe", content="Größe ∑", headers={"X-Name": "Größe ∑".encode()})

    assert response.headers.raw[-3:] == [
        (b"x-name", "Größe ∑".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(response.content)).encode()),
    ]
    assert response.json()["header"] == "Größe ∑"
    assert response.json()["body"] == "Größe ∑"


def test_a_head_request_is_answered_without_a_body(client: httpx.Client) -> None:
    response = client.request("HEAD", "/api/Echo", content=b"four")

    assert (response.headers["content-length"], response.content) == ("4", b"")


def test_a_big_body_makes_the_round_trip(client: httpx.Client) -> None:
    body = bytes(range(256)) * (MAX_BODY_BYTES // 256)

    assert client.post("/api/Echo", content=body).content == body


def test_a_body_of_unknown_length_makes_the_round_trip(client: httpx.Client) -> None:
    assert client.post("/api/Echo", content=iter([b"in ", b"chunks"])).content == b"in chunks"


@pytest.mark.parametrize("in_chunks", [False, True], ids=["of declared length", "in chunks"])
def test_a_body_over_the_limit_is_refused(client: httpx.Client, in_chunks: bool) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)

    response = client.post("/api/Echo", content=iter([body]) if in_chunks else body)

    assert (response.status_code, response.content) == (413, b"")


def test_a_connection_serves_on_after_a_refused_body(client: httpx.Client) -> None:
    client.post("/api/Echo", content=b"x" * (MAX_BODY_BYTES + 1))

    assert client.post("/api/Echo", content=b"small").content == b"small"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/api/Unknown"), ("GET", "/Echo"), ("GET", "/api/Echo"), ("GET", "/api/Disabled")],
    ids=["root", "no such function", "without the prefix", "another method", "disabled"],
)
def test_what_no_route_matches_is_404_with_an_empty_body(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, path)

    assert (response.status_code, response.content) == (404, b"")


def test_an_exception_in_a_function_is_500_with_an_empty_body(client: httpx.Client) -> None:
    response = client.get("/api/Raising")

    assert (response.status_code, response.content) == (500, b"")


def test_an_exception_in_a_function_is_logged_with_its_traceback(client: httpx.Client, host: RunningHost) -> None:
    client.get("/api/Raising")

    logged = host.wait_for_log(re.compile(r"Raising failed.*?\nValueError: raised by the function", re.DOTALL))
    assert "Traceback" in logged[0]


def test_the_host_serves_on_after_an_exception(client: httpx.Client) -> None:
    client.get("/api/Raising")

    assert client.get("/api/Async").text == "async"


def test_a_function_that_can_not_be_imported_answers_500(client: httpx.Client) -> None:
    response = client.get("/api/Broken")

    assert (response.status_code, response.content) == (500, b"")


def test_a_function_that_can_not_be_imported_is_logged_with_its_traceback(host: RunningHost) -> None:
    logged = host.wait_for_log(re.compile(r"Function Broken can't be loaded.*?raised by the import", re.DOTALL))

    assert "Traceback" in logged[0]


def test_what_functions_log_appears_as_func_start_shows_it(client: httpx.Client, host: RunningHost) -> None:
    client.get("/api/Logging")

    host.wait_for_log(re.compile(r"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] logged line$", re.MULTILINE))


@pytest.mark.parametrize(
    "line",
    [
        "\tDescribe: {url}/api/Describe   (auth level: function, not checked here)",
        "\tEcho: [POST,HEAD] {url}/api/Echo   (auth level: anonymous)",
        "\tModel: {url}/api/models/{{model}}:predict   (auth level: function, not checked here)",
        "\tTimer: timerTrigger",
        "\tBroken: not loaded, see the log",
        "Function Disabled is disabled.",
    ],
)
def test_the_functions_are_listed(host: RunningHost, line: str) -> None:
    host.wait_for_log(re.compile(f"^{re.escape(line.format(url=host.url))}$", re.MULTILINE))


@pytest.mark.skipif("sys.platform == 'win32'", reason="the command is quoted for cmd.exe there")
def test_a_function_with_a_sample_request_is_listed_with_a_command_to_paste(host: RunningHost) -> None:
    command = f"""curl -s -H 'Content-Type: application/json' -d '{{"say": "it'"'"'s"}}' {host.url}/api/Echo"""

    host.wait_for_log(re.compile(f"^\t\t{re.escape(command)}$", re.MULTILINE))
