"""The application finds the function of a request and answers for it when it cannot."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import azure.functions as func
import httpx
import pytest

from tools.local_host.asgi import FunctionsApplication
from tools.local_host.function_app import Binding, FunctionConfig
from tools.local_host.invocation import HttpFunction
from tools.local_host.routes import Route

MAX_BODY_BYTES = 8

EntryPoint = Callable[[func.HttpRequest], Any]


def function(entry_point: EntryPoint) -> HttpFunction:
    config = FunctionConfig(
        name="F",
        directory=Path("F"),
        script_file=Path("F/__init__.py"),
        entry_point="main",
        is_disabled=False,
        bindings=(Binding("req", "httptrigger", "in"), Binding("$return", "http", "out")),
        trigger_type="httpTrigger",
        http=None,
    )
    return HttpFunction(config, "req", entry_point, ThreadPoolExecutor(1))


def application(entry_points: Mapping[str, EntryPoint | None]) -> FunctionsApplication:
    """Return an application of functions for POST by route; None stands for one that was not loaded."""
    routed = [(Route(route, ("POST",)), main and function(main)) for route, main in entry_points.items()]
    return FunctionsApplication(routed, MAX_BODY_BYTES)


def request(app: FunctionsApplication, path: str, method: str = "POST", body: bytes = b"") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, content=body)

    return asyncio.run(send())


def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body(), status_code=201, headers={"X-Model": req.route_params.get("model", "")})


def fail(req: func.HttpRequest) -> None:
    raise ValueError("raised by the function")


def test_a_function_gets_body_and_route_parameters_and_answers() -> None:
    response = request(application({"models/{model}": echo}), "/models/xor", body=b"body")

    assert (response.status_code, response.headers["X-Model"], response.content) == (201, "xor", b"body")


@pytest.mark.parametrize("reverse", [False, True])
def test_the_most_specific_route_answers_in_any_order(reverse: bool) -> None:
    answers: dict[str, EntryPoint | None] = {
        "models/{model}": lambda req: "any",
        "models/xor": lambda req: "xor",
        "{*path}": lambda req: "all",
    }
    app = application(dict(sorted(answers.items(), reverse=reverse)))

    assert [request(app, path).text for path in ("/models/xor", "/models/and", "/other")] == ["xor", "any", "all"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("POST", "/F/more"), ("GET", "/F")])
def test_an_unknown_path_or_method_is_404_with_an_empty_body(method: str, path: str) -> None:
    response = request(application({"F": echo}), path, method)

    assert (response.status_code, response.content) == (404, b"")


def test_the_root_leads_to_the_page_that_is_home() -> None:
    app = FunctionsApplication([], MAX_BODY_BYTES, "/api/playground")

    response = request(app, "/", "GET")

    assert (response.status_code, response.headers["Location"]) == (302, "/api/playground")
    assert request(app, "/other", "GET").status_code == 404


def test_an_exception_in_a_function_is_logged_and_500_with_an_empty_body(caplog: pytest.LogCaptureFixture) -> None:
    response = request(application({"F": fail}), "/F")

    assert (response.status_code, response.content) == (500, b"")
    assert "F failed" in caplog.text
    assert "ValueError: raised by the function" in caplog.text


def test_a_function_that_was_not_loaded_is_500_with_an_empty_body(caplog: pytest.LogCaptureFixture) -> None:
    response = request(application({"F": None}), "/F")

    assert (response.status_code, response.content) == (500, b"")
    assert "/F: the function could not be loaded" in caplog.text


def test_a_body_over_the_limit_is_413_with_an_empty_body() -> None:
    app = application({"F": echo})

    assert request(app, "/F", body=b"x" * MAX_BODY_BYTES).status_code == 201
    refused = request(app, "/F", body=b"x" * (MAX_BODY_BYTES + 1))
    assert (refused.status_code, refused.content) == (413, b"")
