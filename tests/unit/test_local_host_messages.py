"""ASGI requests become those of azure.functions, and its responses become those of ASGI."""

from typing import Any

import azure.functions as func
import pytest

from tools.local_host.messages import Answer, answer_from, request_from, routed_path


def scope(raw_path: bytes = b"/api/Echo", query: bytes = b"", headers: Any = ()) -> dict[str, Any]:
    return {
        "method": "POST",
        "scheme": "http",
        "path": "the path as the server decodes it",
        "raw_path": raw_path,
        "query_string": query,
        "headers": [(b"host", b"localhost:7071"), *headers],
    }


def test_the_url_is_absolute_and_keeps_its_encoding() -> None:
    request = request_from(scope(b"/api/Gr%C3%B6%C3%9Fe", b"a=%20b&c"), b"", {})

    assert request.url == "http://localhost:7071/api/Gr%C3%B6%C3%9Fe?a=%20b&c"


@pytest.mark.parametrize(
    ("query", "params"),
    [
        (b"", {}),
        (b"a=1&b=x+y%26", {"a": "1", "b": "x y&"}),
        (b"a=1&a=2", {"a": "1,2"}),
        (b"empty=&a=1", {"a": "1"}),
        (b"name=Gr%C3%B6%C3%9Fe", {"name": "Größe"}),
    ],
)
def test_the_query_is_decoded_and_repeated_names_are_joined(query: bytes, params: dict[str, str]) -> None:
    assert dict(request_from(scope(query=query), b"", {}).params) == params


def test_headers_are_utf_8_and_repeated_ones_are_joined() -> None:
    headers = [(b"x-name", "Größe".encode()), (b"accept", b"a"), (b"accept", b"b")]

    request = request_from(scope(headers=headers), b"", {})

    assert dict(request.headers) == {"host": "localhost:7071", "x-name": "Größe", "accept": "a,b"}


def test_body_and_route_parameters_are_the_request_s() -> None:
    request = request_from(scope(), b"\x00body", {"model": "xor"})

    assert (request.method, request.get_body(), dict(request.route_params)) == ("POST", b"\x00body", {"model": "xor"})


@pytest.mark.parametrize(
    ("raw_path", "path"),
    [
        (b"/models/a%20b", "/models/a b"),
        (b"/models/a%2Fb", "/models/a%2Fb"),
        (b"/models/a%2fb", "/models/a%2fb"),
        (b"/models/Gr%C3%B6%C3%9Fe", "/models/Größe"),
    ],
)
def test_a_path_is_decoded_for_routing_except_for_slashes(raw_path: bytes, path: str) -> None:
    assert routed_path(scope(raw_path)) == path


@pytest.mark.parametrize(
    ("response", "content_type"),
    [
        (func.HttpResponse("a"), b"text/plain; charset=utf-8"),
        (func.HttpResponse("a", mimetype="text/html", charset="latin-1"), b"text/html; charset=latin-1"),
        (func.HttpResponse("{}", mimetype="application/json"), b"application/json"),
        (func.HttpResponse("a", headers={"Content-Type": "text/csv"}), b"text/csv"),
    ],
)
def test_the_content_type_is_that_of_the_header_or_of_the_mimetype(response, content_type):
    assert [value for name, value in answer_from(response).headers if name == b"content-type"] == [content_type]


def test_the_answer_declares_the_true_length_of_its_body() -> None:
    answer = answer_from(func.HttpResponse("é", headers={"Content-Length": "7"}, mimetype="text/plain"))

    assert answer == Answer(
        200, [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"2")], "é".encode()
    )


def test_all_values_of_a_repeated_header_are_sent() -> None:
    response = func.HttpResponse()
    response.headers.add("Set-Cookie", "a=1")
    response.headers.add("Set-Cookie", "b=2")

    headers = answer_from(response).headers

    assert [value for name, value in headers if name == b"set-cookie"] == [b"a=1", b"b=2"]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_of_a_status_without_body_has_neither_body_nor_length(status: int) -> None:
    answer = answer_from(func.HttpResponse("ignored", status_code=status))

    assert answer == Answer(status, [(b"content-type", b"text/plain; charset=utf-8")], b"")


@pytest.mark.parametrize("status", [0, 100, 600])
def test_an_invalid_status_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match=f"the status code is {status}"):
        answer_from(func.HttpResponse(status_code=status))
