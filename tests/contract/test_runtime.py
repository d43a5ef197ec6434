"""What Microsoft's runtime does with functions, on functions of a few lines: the ground the app's folders stand on."""

import itertools
import json
import textwrap
from pathlib import Path

import pytest

from tests.fixtures import PROJECT_ROOT
from tools.worker_host.functions_host import Request
from tools.worker_host.messages import Level
from tools.worker_host.worker import FunctionLoadError, InvocationError, Worker, WorkerError

METHODS = ["get", "head", "post", "put", "patch", "delete", "options"]
BINDINGS = [
    {"type": "httpTrigger", "direction": "in", "name": "req", "methods": METHODS},
    {"type": "http", "direction": "out", "name": "$return"},
]

ECHO = """
    import json
    import azure.functions as func

    def main(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse(json.dumps({
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "params": dict(req.params),
            "route_params": dict(req.route_params),
            "body": req.get_body().hex(),
        }))
"""


class App:
    """A function app of functions which tests write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = itertools.count(1)

    def write(self, code: str, **config: object) -> str:
        """Add an HTTP function with this code and return its name; ``config`` goes into its ``function.json``."""
        name = f"Function{next(self._numbers)}"
        folder = self.root / name
        folder.mkdir()
        (folder / "__init__.py").write_text(textwrap.dedent(code))
        (folder / "function.json").write_text(json.dumps({"bindings": BINDINGS, **config}))
        return name


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return App(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def worker(app):
    """One process for all tests here: each has functions of its own."""
    with Worker(app.root) as worker:
        yield worker


@pytest.fixture(scope="module")
def ask(app, worker):
    """Return a function that loads a function with this code and sends it one request."""

    def ask(code, **request):
        name = app.write(code)
        worker.load(name)
        return worker.request(name, **request)

    return ask


# Requests


@pytest.mark.parametrize("method", [method.upper() for method in METHODS])
def test_a_function_sees_the_method(ask, method):
    assert ask(ECHO, method=method).json()["method"] == method


def test_a_function_sees_the_url(ask):
    assert ask(ECHO, path="/api/echo?a=1").json()["url"] == "https://app.azurewebsites.net/api/echo?a=1"


def test_the_names_of_headers_arrive_in_lower_case(ask):
    headers = ask(ECHO, headers={"Content-Type": "Text/CSV", "X-Trace": "Abc"}).json()["headers"]

    assert headers == {"host": "app.azurewebsites.net", "content-type": "Text/CSV", "x-trace": "Abc"}


def test_headers_are_found_by_a_name_in_any_case(ask):
    code = "def main(req) -> str: return req.headers['CONTENT-type']"

    assert ask(code, headers={"Content-Type": "text/csv"}).body == b"text/csv"


def test_a_parameter_of_the_query_that_is_repeated_arrives_joined_and_an_empty_one_not_at_all(ask):
    params = ask(ECHO, path="/api/echo?a=1&a=2&b=%C3%A4+%26&c=").json()["params"]

    assert params == {"a": "1,2", "b": "ä &"}


def test_parameters_of_the_route_are_apart_from_those_of_the_query(ask):
    request = ask(ECHO, path="/api/models/xor?a=1", route_params={"name": "xor"}).json()

    assert request["route_params"] == {"name": "xor"}
    assert request["params"] == {"a": "1"}


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", "text/plain; charset=latin1"])
def test_the_body_arrives_byte_by_byte_whatever_its_type(ask, content_type):
    body = bytes(range(256))

    assert ask(ECHO, body=body, headers={"Content-Type": content_type}).json()["body"] == body.hex()


def test_no_body_is_an_empty_one(ask):
    assert ask(ECHO).json()["body"] == ""


# Responses


def test_a_str_is_answered_as_text(ask):
    response = ask("def main(req) -> str: return 'ä'")

    assert (response.status, response.headers, response.body) == (
        200,
        {"content-type": "text/plain; charset=utf-8"},
        "ä".encode(),
    )


def test_a_response_arrives_with_status_headers_and_bytes(ask):
    response = ask("""
        import azure.functions as func

        def main(req: func.HttpRequest) -> func.HttpResponse:
            return func.HttpResponse(bytes(range(256)), status_code=418, headers={"X-Tea": 1}, mimetype="image/png")
    """)

    assert response.status == 418
    assert response.headers == {"x-tea": "1", "content-type": "image/png"}
    assert response.body == bytes(range(256))


def test_of_a_repeated_header_only_the_last_one_arrives(ask):
    response = ask("""
        import azure.functions as func

        def main(req: func.HttpRequest) -> func.HttpResponse:
            response = func.HttpResponse()
            response.headers.add("X-Tea", "green")
            response.headers.add("X-Tea", "black")
            return response
    """)

    assert response.headers["x-tea"] == "black"


def test_the_body_of_an_answer_to_head_is_left_to_the_host(ask):
    assert ask("def main(req) -> str: return 'body'", method="HEAD").body == b"body"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("def main(req): raise KeyError('cause')", r"KeyError: 'cause'\n(.*\n)+.*KeyError", id="raises"),
        pytest.param("def main(req): return None", "TypeError: unable to encode outgoing TypedData", id="none"),
        pytest.param("def main(req): return {}", "TypeError: unable to encode outgoing TypedData", id="dict"),
        pytest.param("def main(req): return b''", "TypeError: unable to encode outgoing TypedData", id="bytes"),
    ],
)
def test_an_invocation_fails_with_the_runtime_s_own_message_when_a_function(ask, code, message):
    with pytest.raises(InvocationError, match=message):
        ask(code)


def test_after_a_failure_the_next_request_is_answered(app, worker):
    name = app.write("""
        def main(req) -> str:
            if req.method == "PUT":
                raise ValueError
            return "answer"
    """)
    worker.load(name)

    with pytest.raises(InvocationError):
        worker.request(name, "PUT")
    assert worker.request(name).body == b"answer"


# Threads


def test_a_function_runs_in_the_thread_pool(ask):
    response = ask("""
        import threading

        def main(req) -> str:
            return threading.current_thread().name
    """)

    assert response.body.startswith(b"ThreadPoolExecutor")


def test_an_async_function_runs_in_the_main_thread_on_the_event_loop(ask):
    response = ask("""
        import asyncio, threading

        async def main(req) -> str:
            await asyncio.sleep(0)
            return threading.current_thread().name
    """)

    assert response.body == b"MainThread"


def test_as_many_requests_run_at_once_as_there_are_threads(app, start_worker):
    # Nobody passes the barrier before all are there.
    name = app.write("""
        import threading

        barrier = threading.Barrier(8)

        def main(req) -> str:
            barrier.wait()
            return threading.current_thread().name
    """)
    worker = start_worker(app.root, PYTHON_THREADPOOL_THREAD_COUNT="8")
    worker.load(name)

    responses = worker.requests(name, [Request()] * 8)

    assert len({response.body for response in responses}) == 8


def test_responses_are_told_apart(app, worker):
    name = app.write("def main(req) -> str: return req.get_body().decode()")
    worker.load(name)
    bodies = [str(number).encode() for number in range(100)]

    assert [response.body for response in worker.requests(name, [Request(body=body) for body in bodies])] == bodies


# Context and logs

LOG = """
    import logging
    import azure.functions as func

    {define} main(req: func.HttpRequest, context: func.Context) -> str:
        logging.getLogger("app.module").warning("%s cups", 2)
        return context.invocation_id
"""


def test_the_context_tells_function_folder_and_invocation(app, worker):
    name = app.write("""
        def main(req, context) -> str:
            return "|".join([context.function_name, context.function_directory, context.invocation_id])
    """)
    worker.load(name)

    response = worker.request(name)

    assert response.body.decode() == f"{name}|{app.root / name}|{response.invocation_id}"


@pytest.mark.parametrize("define", ["def", "async def"])
def test_a_log_record_belongs_to_the_invocation_that_wrote_it(ask, define):
    response = ask(LOG.format(define=define))

    [log] = [log for log in response.logs if log.category == "app.module"]
    assert (log.level, log.message) == (Level["Warning"], "2 cups")
    assert log.invocation_id == response.body.decode()


def test_records_of_invocations_at_the_same_time_are_told_apart(app, worker):
    name = app.write(LOG.format(define="def"))
    worker.load(name)

    responses = worker.requests(name, [Request()] * 20)

    assert len({response.invocation_id for response in responses}) == 20
    assert [sum(log.category == "app.module" for log in response.logs) for response in responses] == [1] * 20


def test_a_thread_that_a_function_starts_logs_for_no_invocation(ask, worker):
    response = ask("""
        import logging, threading

        def main(req) -> str:
            thread = threading.Thread(target=logging.error, args=("from a thread",))
            thread.start()
            thread.join()
            return ""
    """)

    assert "from a thread" not in [log.message for log in response.logs]
    assert [log.invocation_id for log in worker.logs if log.message == "from a thread"] == [""]


def test_the_log_has_the_traceback_of_an_exception(ask):
    response = ask("""
        import logging

        def main(req) -> str:
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("failed")
            return ""
    """)

    [log] = [log for log in response.logs if log.level == Level["Error"]]
    assert log.message.startswith("failed\nTraceback")


@pytest.mark.parametrize(("environment", "expected"), [({}, 0), ({"PYTHON_ENABLE_DEBUG_LOGGING": "1"}, 1)])
def test_debug_records_are_logged_only_on_demand(app, start_worker, environment, expected):
    name = app.write("""
        import logging

        def main(req) -> str:
            logging.debug("a detail")
            return ""
    """)
    worker = start_worker(app.root, **environment)
    worker.load(name)

    response = worker.request(name)

    assert sum(log.message == "a detail" for log in response.logs) == expected


# Loading


def test_a_function_is_a_module_of_the_package_app(app, worker):
    name = app.write("def main(req) -> str: return __name__")
    worker.load(name)

    assert worker.request(name).body.decode() == f"__app__.{name}"


def test_the_app_s_root_is_the_last_place_to_import_from_and_this_project_s_is_none(ask, app):
    places = ask("""
        import json, sys

        def main(req) -> str:
            return json.dumps(sys.path)
    """).json()

    assert places[-1] == str(app.root)
    assert str(PROJECT_ROOT) not in places


def test_a_module_beside_the_functions_is_another_one_when_imported_from_the_package_app(ask, app):
    (app.root / "beside.py").write_text("")

    response = ask("""
        import beside
        from __app__ import beside as other

        def main(req) -> str:
            return str(beside is other)
    """)

    assert response.body == b"False"


def test_an_entry_point_may_have_another_name(app, worker):
    name = app.write("def predict(req) -> str: return 'predicted'", entryPoint="predict")
    worker.load(name)

    assert worker.request(name).body == b"predicted"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("def main(req) return", "SyntaxError", id="is no Python"),
        pytest.param("1 / 0", "ZeroDivisionError", id="fails on import"),
        pytest.param("import no_such_module", "No module named 'no_such_module'", id="misses a module"),
        pytest.param("def other(req): pass", "is not present in .*'main'", id="has no main"),
        pytest.param("def main(): pass", "declared in function.json but not in Python", id="takes too little"),
        pytest.param("def main(req, model): pass", "declared in Python but not in function.json", id="takes too much"),
        pytest.param("def main(req: int): pass", "does not match its Python annotation", id="takes another type"),
        pytest.param("def main(req) -> dict: pass", "does not match binding type", id="returns another type"),
    ],
)
def test_a_function_is_refused_with_the_runtime_s_own_message_when_it(app, worker, code, message):
    name = app.write(code)

    with pytest.raises(FunctionLoadError, match=message):
        worker.load(name)


# The host played here


def test_a_method_that_function_json_does_not_list_never_reaches_the_function(ask):
    with pytest.raises(ValueError, match="not TRACE"):
        ask(ECHO, method="TRACE")


def test_a_header_that_is_not_ascii_can_not_be_answered(ask):
    with pytest.raises(UnicodeEncodeError):
        ask("""
            import azure.functions as func

            def main(req: func.HttpRequest) -> func.HttpResponse:
                return func.HttpResponse(headers={"X-Tea": "grün"})
        """)


def test_the_end_of_the_process_is_an_error_with_its_exit_code(app, start_worker):
    name = app.write("import os\ndef main(req): os._exit(3)")
    worker = start_worker(app.root)
    worker.load(name)

    with pytest.raises(WorkerError, match="ended with exit code 3"):
        worker.request(name)
