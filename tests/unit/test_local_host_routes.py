"""Routes as ASP.NET Core and the Functions host understand them."""

import pytest

from tools.local_host.routes import Route, RouteError, Router, RouteTemplate


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("api/PredictXor", "/api/PredictXor", {}),
        ("api/PredictXor", "/API/predictxor", {}),
        ("api/PredictXor", "/api/PredictXor/", {}),
        ("models/{model}", "/models/xor", {"model": "xor"}),
        ("models/{model}", "/models/Größe 1", {"model": "Größe 1"}),
        ("models/{model}", "/models/two\nlines", {"model": "two\nlines"}),
        ("models/{model}:predict", "/models/xor:predict", {"model": "xor"}),
        ("models/{model}:predict", "/models/a:predict:predict", {"model": "a:predict"}),
        ("{model}/versions/{version}:predict", "/xor/versions/2:predict", {"model": "xor", "version": "2"}),
        ("files/{name}.{extension}", "/files/a.tar.gz", {"name": "a.tar", "extension": "gz"}),
        ("models/{model?}", "/models/xor", {"model": "xor"}),
        ("models/{model?}", "/models", {}),
        ("models/{model=xor}", "/models", {"model": "xor"}),
        ("models/{model=xor}", "/models/and", {"model": "and"}),
        ("versions/{version:int=1}", "/versions", {"version": "1"}),
        ("files/{*path}", "/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{**path}", "/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{*path}", "/files", {}),
        ("v/{version:int}", "/v/-12", {"version": "-12"}),
        ("v/{version:int}", "/v/2147483647", {"version": "2147483647"}),
        ("v/{version:long}", "/v/2147483648", {"version": "2147483648"}),
        ("v/{name:alpha}", "/v/Abc", {"name": "Abc"}),
        ("v/{flag:bool}", "/v/True", {"flag": "True"}),
        ("v/{id:guid}", "/v/0f8fad5b-d9cb-469f-a165-70867728950e", {"id": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
        ("v/{id:guid}", "/v/0F8FAD5BD9CB469FA16570867728950E", {"id": "0F8FAD5BD9CB469FA16570867728950E"}),
    ],
)
def test_a_path_matches_and_gives_its_parameters(template: str, path: str, parameters: dict[str, str]) -> None:
    assert RouteTemplate.parse(template).match(path) == parameters


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("api/PredictXor", "/api"),
        ("api/PredictXor", "/api/PredictXor/more"),
        ("api/PredictXor", "/api//PredictXor"),
        ("models/{model}", "/models"),
        ("models/{model}", "/models/a/b"),
        ("models/{model}:predict", "/models/:predict"),
        ("models/{model}:predict", "/models/xor"),
        ("models/a.b", "/models/axb"),
        ("v/{version:int}", "/v/1x"),
        ("v/{version:int}", "/v/2147483648"),
        ("v/{version:int}", "/v/٣"),
        ("v/{name:alpha}", "/v/a1"),
        ("v/{flag:bool}", "/v/yes"),
        ("v/{id:guid}", "/v/0f8fad5b"),
        ("v/{code:alpha:bool}", "/v/maybe"),
    ],
)
def test_another_path_does_not_match(template: str, path: str) -> None:
    assert RouteTemplate.parse(template).match(path) is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("models/{model", "unbalanced braces"),
        ("models/model}", "unbalanced braces"),
        ("models/{}", "is no parameter"),
        ("models/{id:prime}", "constraint 'prime' is unknown; known are alpha, bool, guid, int, long"),
        ("/models", "no empty segments"),
        ("models//x", "no empty segments"),
        ("{*path}/models", "only the last segment can be a catch-all"),
        ("models/v{version?}", "must be a segment of its own"),
    ],
)
def test_a_template_that_can_not_be_used_is_refused_with_the_reason(template: str, reason: str) -> None:
    with pytest.raises(RouteError, match=reason):
        RouteTemplate.parse(template)


@pytest.mark.parametrize(
    ("path", "winner"),
    [
        ("/models/xor", "models/xor"),
        ("/models/7", "models/{model:int}"),
        ("/models/and", "models/{model}"),
        ("/models/and:predict", "models/{model}:predict"),
        ("/models/and/versions", "models/{*path}"),
        ("/models", "models/{*path}"),
        ("/anything", "{*path}"),
    ],
)
def test_the_most_specific_route_wins_whatever_their_order(path: str, winner: str) -> None:
    templates = [
        "{*path}",
        "models/{*path}",
        "models/{model}",
        "models",
        "models/{model}:predict",
        "models/{model:int}",
        "models/xor",
    ]
    for order in (templates, templates[::-1]):
        found = Router(Route(RouteTemplate.parse(text), None, text) for text in order).find("GET", path)
        assert found is not None
        assert found[0] == winner


def test_a_route_without_methods_answers_all_of_them() -> None:
    router = Router([Route(RouteTemplate.parse("models"), None, "all")])

    assert router.find("PROPFIND", "/models") == ("all", {})


def test_a_method_the_route_does_not_have_is_not_found() -> None:
    router = Router([Route(RouteTemplate.parse("models"), ("GET", "POST"), "read")])

    assert router.find("DELETE", "/models") is None


def test_two_functions_can_share_a_route_with_different_methods() -> None:
    template = RouteTemplate.parse("models/{model}")
    router = Router([Route(template, ("GET",), "read"), Route(template, ("DELETE",), "remove")])

    assert router.find("DELETE", "/models/xor") == ("remove", {"model": "xor"})
