"""What Microsoft's runtime does with small functions: the behaviour that the app's functions rely on."""

import itertools
import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import StartWorker
from tests.fixtures import PROJECT_ROOT
from tools.worker_host.functions_host import Request, Response
from tools.worker_host.messages import Level
from tools.worker_host.worker import FunctionLoadError, InvocationError, Worker, WorkerError

Ask = Callable[..., Response]

BINDINGS = [
    {"type": "httpTrigger", "direction": "in", "name": "req", "methods": ["get", "post", "put"]},
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
    """A function app whose functions the tests write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = itertools.count(1)

    def write(self, code: str, **config: object) -> str:
        """Add an HTTP function with this code and return its name; ``config`` is added to its ``function.json``."""
        name = f"Function{next(self._numbers)}"
        folder = self.root / name
        folder.mkdir()
        (folder / "__init__.py").write_text(textwrap.dedent(code))
        (folder / "function.json").write_text(json.dumps({"bindings": BINDINGS, **config}))
        return name


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    return App(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def worker(app: App) -> Iterator[Worker]:
    """One process for all tests; each test has functions of its own."""
    with Worker(app.root) as worker:
        yield worker


@pytest.fixture(scope="module")
def load(app: App, worker: Worker) -> Callable[..., str]:
    """Return a function that writes and loads a function and returns its name."""

    def load(code: str, **config: object) -> str:
        name = app.write(code, **config)
        worker.load(name)
        return name

    return load


@pytest.fixture(scope="module")
def ask(load: Callable[..., str], worker: Worker) -> Ask:
    """Return a function that loads a function with this code and sends it one request."""
    return lambda code, **request: worker.request(load(code), **request)


# Requests and responses


def test_a_request_arrives_with_all_its_parts(ask: Ask) -> None:
    body = bytes(range(256))

    seen = ask(
        ECHO,
        method="PUT",
        path="/api/models/xor?a=1&a=2&b=%C3%A4+%26&c=",
        route_params={"name": "xor"},
        headers={"Content-Type": "Text/CSV", "X-Trace": "Abc"},
        body=body,
    ).json()

    assert seen == {
        "method": "PUT",
        "url": "https://app.azurewebsites.net/api/models/xor?a=1&a=2&b=%C3%A4+%26&c=",
        "headers": {
            "host": "app.azurewebsites.net",
            "content-type": "Text/CSV",
            "x-trace": "Abc",
            "content-length": "256",
        },
        "params": {"a": "1,2", "b": "ä &"},
        "route_params": {"name": "xor"},
        "body": body.hex(),
    }


def test_a_request_may_have_no_body(ask: Ask) -> None:
    assert ask(ECHO).json()["body"] == ""


def test_a_function_finds_headers_by_a_name_in_any_case(ask: Ask) -> None:
    code = "def main(req) -> str: return req.headers['CONTENT-type']"

    assert ask(code, headers={"Content-Type": "text/csv"}).body == b"text/csv"


def test_a_string_is_answered_as_text(ask: Ask) -> None:
    response = ask("def main(req) -> str: return 'ä'")

    assert (response.status, response.body) == (200, "ä".encode())
    assert response.headers == {"content-type": "text/plain; charset=utf-8"}


def test_a_response_arrives_with_status_bytes_and_the_last_value_of_each_header(ask: Ask) -> None:
    response = ask("""
        import azure.functions as func

        def main(req: func.HttpRequest) -> func.HttpResponse:
            response = func.HttpResponse(bytes(range(256)), status_code=418, mimetype="image/png")
            response.headers.add("X-Tea", "green")
            response.headers.add("X-Tea", "black")
            return response
    """)

    assert (response.status, response.body) == (418, bytes(range(256)))
    assert response.headers == {"x-tea": "black", "content-type": "image/png"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("def main(req): raise KeyError('cause')", r"KeyError: 'cause'\n(.*\n)+.*KeyError", id="raises"),
        pytest.param("def main(req): return b''", "TypeError: unable to encode outgoing TypedData", id="returns bytes"),
    ],
)
def test_an_invocation_fails_with_the_runtime_s_message_if_a_function(ask: Ask, code: str, message: str) -> None:
    with pytest.raises(InvocationError, match=message):
        ask(code)


# Threads


def test_a_function_runs_in_the_thread_pool(ask: Ask) -> None:
    response = ask("""
        import threading

        def main(req) -> str:
            return threading.current_thread().name
    """)

    assert response.body.startswith(b"ThreadPoolExecutor")


def test_an_async_function_runs_in_the_main_thread_on_the_event_loop(ask: Ask) -> None:
    response = ask("""
        import asyncio, threading

        async def main(req) -> str:
            await asyncio.sleep(0)
            return threading.current_thread().name
    """)

    assert response.body == b"MainThread"


def test_as_many_requests_run_at_once_as_there_are_threads(app: App, start_worker: StartWorker) -> None:
    # Every call waits for the others, so all of them are answered only if all of them run at once.
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


def test_requests_sent_together_get_their_own_responses(load: Callable[..., str], worker: Worker) -> None:
    name = load("def main(req) -> str: return req.get_body().decode()")
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


def test_the_context_names_function_folder_and_invocation(load: Callable[..., str], app: App, worker: Worker) -> None:
    name = load("""
        def main(req, context) -> str:
            return "|".join([context.function_name, context.function_directory, context.invocation_id])
    """)

    response = worker.request(name)

    assert response.body.decode() == f"{name}|{app.root / name}|{response.invocation_id}"


@pytest.mark.parametrize("define", ["def", "async def"])
def test_a_log_record_belongs_to_its_invocation_among_others(load, worker, define):
    responses = worker.requests(load(LOG.format(define=define)), [Request()] * 20)

    assert len({response.invocation_id for response in responses}) == 20
    for response in responses:
        [log] = [log for log in response.logs if log.category == "app.module"]
        assert (log.level, log.message) == (Level["Warning"], "2 cups")
        assert log.invocation_id == response.body.decode()


def test_a_log_record_of_a_thread_that_a_function_starts_has_no_invocation(ask: Ask, worker: Worker) -> None:
    ask("""
        import logging, threading

        def main(req) -> str:
            thread = threading.Thread(target=logging.error, args=("from a thread",))
            thread.start()
            thread.join()
            return ""
    """)

    assert [log.invocation_id for log in worker.logs if log.message == "from a thread"] == [""]


def test_the_log_has_the_traceback_of_an_exception(ask: Ask) -> None:
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


def test_a_function_is_a_module_of_the_package_app(load: Callable[..., str], worker: Worker) -> None:
    name = load("def predict(req) -> str: return __name__", entryPoint="predict")

    assert worker.request(name).body.decode() == f"__app__.{name}"


def test_the_app_s_root_is_last_on_the_path_and_this_project_s_is_absent(ask: Ask, app: App) -> None:
    places = ask("""
        import json, sys

        def main(req) -> str:
            return json.dumps(sys.path)
    """).json()

    assert places[-1] == str(app.root)
    assert str(PROJECT_ROOT) not in places


def test_a_module_imported_directly_and_from_the_package_app_is_two_modules(ask: Ask, app: App) -> None:
    (app.root / "beside.py").write_text("")

    response = ask("""
        import beside
        from __app__ import beside as other

        def main(req) -> str:
            return str(beside is other)
    """)

    assert response.body == b"False"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("def main(req) return", "SyntaxError", id="is not Python"),
        pytest.param("import no_such_module", "No module named 'no_such_module'", id="misses a module"),
        pytest.param("def other(req): pass", "is not present in .*'main'", id="has no main"),
        pytest.param("def main(): pass", "declared in function.json but not in Python", id="lacks a parameter"),
        pytest.param(
            "def main(req, model): pass", "declared in Python but not in function.json", id="adds a parameter"
        ),
        pytest.param("def main(req: int): pass", "does not match its Python annotation", id="takes another type"),
        pytest.param("def main(req) -> dict: pass", "does not match binding type", id="returns another type"),
    ],
)
def test_a_function_is_refused_with_the_runtime_s_message_if_it(app, worker, code, message):
    with pytest.raises(FunctionLoadError, match=message):
        worker.load(app.write(code))


# The host that is played here


def test_a_method_that_function_json_does_not_list_never_reaches_the_function(ask: Ask) -> None:
    with pytest.raises(ValueError, match="allows GET, POST, PUT, not TRACE"):
        ask(ECHO, method="TRACE")


def test_a_header_that_is_not_ascii_cannot_be_sent(ask: Ask) -> None:
    with pytest.raises(UnicodeEncodeError):
        ask("""
            import azure.functions as func

            def main(req: func.HttpRequest) -> func.HttpResponse:
                return func.HttpResponse(headers={"X-Tea": "grün"})
        """)


def test_the_end_of_the_process_is_an_error_with_its_exit_code(app: App, start_worker: StartWorker) -> None:
    name = app.write("import os\ndef main(req): os._exit(3)")
    worker = start_worker(app.root)
    worker.load(name)

    with pytest.raises(WorkerError, match="ended with exit code 3"):
        worker.request(name)
