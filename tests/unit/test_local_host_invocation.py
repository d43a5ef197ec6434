"""An HTTP function gets its arguments, runs in its place and answers through its bindings."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from tools.local_host.function_app import Binding, FunctionConfig, HttpTrigger
from tools.local_host.invocation import HttpFunction, Out
from tools.local_host.routes import Route

REQUEST = func.HttpRequest(
    method="GET", url="http://localhost/api/F", headers={"traceparent": "00-1-2-01", "tracestate": "a=b"}, body=b""
)
RETURN = Binding(name="$return", type="http", direction="out")


def call(entry_point: Callable[..., Any], *outputs: Binding) -> Any:
    """Call an entry point as a function ``F`` with these outputs, in a pool of one thread."""
    config = FunctionConfig(
        name="F",
        directory=Path("/app/F"),
        script_file=Path("/app/F/__init__.py"),
        entry_point="main",
        is_disabled=False,
        bindings=(Binding(name="req", type="httptrigger", direction="in"), *outputs),
        trigger_type="httpTrigger",
        http=HttpTrigger(parameter="req", route=Route("api/F"), auth_level="anonymous"),
    )
    with ThreadPoolExecutor(1, thread_name_prefix="function") as pool:
        function = HttpFunction(config, "req", entry_point, pool)
        return asyncio.run(function(REQUEST))


def test_a_function_gets_the_request_under_the_name_of_its_binding() -> None:
    assert call(lambda req: func.HttpResponse(req.url), RETURN).get_body() == b"http://localhost/api/F"


def test_a_function_runs_in_the_thread_pool() -> None:
    assert call(lambda req: threading.current_thread().name, RETURN).get_body() == b"function_0"


def test_an_async_function_runs_on_the_event_loop() -> None:
    async def main(req: func.HttpRequest) -> str:
        assert asyncio.get_running_loop()
        return threading.current_thread().name

    assert call(main, RETURN).get_body() == threading.main_thread().name.encode()


def test_a_function_with_a_context_parameter_gets_the_invocation() -> None:
    contexts = []

    def main(req: func.HttpRequest, context: func.Context) -> str:
        contexts.append(context)
        return str(context.thread_local_storage.invocation_id)

    assert call(main, RETURN).get_body().decode() == contexts[0].invocation_id
    assert (contexts[0].function_name, contexts[0].function_directory) == ("F", str(Path("/app/F")))
    assert (contexts[0].trace_context.trace_parent, contexts[0].trace_context.trace_state) == ("00-1-2-01", "a=b")
    assert contexts[0].retry_context.retry_count == 0


def test_a_string_is_answered_as_plain_text() -> None:
    response = call(lambda req: "Größe", RETURN)

    assert (response.status_code, response.mimetype, response.get_body()) == (200, "text/plain", "Größe".encode())


def test_an_out_parameter_carries_the_answer() -> None:
    def main(req: func.HttpRequest, res: Out) -> None:
        res.set(func.HttpResponse("out", status_code=201))

    response = call(main, Binding(name="res", type="http", direction="out"))

    assert (response.status_code, response.get_body()) == (201, b"out")


def test_a_function_that_sets_no_answer_gives_204() -> None:
    assert call(lambda req, res: None, Binding(name="res", type="http", direction="out")).status_code == 204


@pytest.mark.parametrize("result", [None, {"labels": []}, b"bytes"])
def test_a_result_that_is_not_a_response_is_an_error(result: object) -> None:
    with pytest.raises(TypeError, match=f"the answer is a {type(result).__name__}"):
        call(lambda req: result, RETURN)


def test_a_result_without_a_return_binding_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"F returned a str but has no \$return binding"):
        call(lambda req: "lost")


@pytest.mark.parametrize("error", [ValueError("as raised"), SystemExit("as raised")])
def test_an_exception_in_the_function_s_thread_is_raised_to_the_caller(error: BaseException) -> None:
    def main(req: func.HttpRequest) -> None:
        raise error

    with pytest.raises(type(error), match="as raised"):
        call(main, RETURN)
