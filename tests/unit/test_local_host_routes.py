"""Routes match as those of ASP.NET Core and the Functions host do."""

import pytest

from tools.local_host.routes import Route, RouteError


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("api/PredictXor", "/api/PredictXor", {}),
        ("api/PredictXor", "/API/predictxor", {}),
        ("api/PredictXor", "/api/PredictXor/", {}),
        ("models/{model}", "/models/xor", {"model": "xor"}),
        ("models/{model}", "/models/Größe 1", {"model": "Größe 1"}),
        ("files/{*path}", "/files/two\nlines", {"path": "two\nlines"}),
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
    assert Route(template).match("GET", path) == parameters


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
    assert Route(template).match("GET", path) is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("models/{model", "unbalanced braces"),
        ("models/model}", "unbalanced braces"),
        ("models/{}", "is not a parameter"),
        ("models/{id:prime}", "unknown constraint 'prime'; expected one of alpha, bool, guid, int, long"),
        ("/models", "no empty segments"),
        ("models//x", "no empty segments"),
        ("{*path}/models", "only the last segment can be a catch-all"),
        ("models/v{version?}", "must be a whole segment"),
    ],
)
def test_an_invalid_template_is_refused_with_the_reason(template: str, reason: str) -> None:
    with pytest.raises(RouteError, match=reason):
        Route(template)


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
def test_the_most_specific_route_sorts_first(path: str, winner: str) -> None:
    templates = ["{*path}", "models/{*path}", "models/{model}", "models"]
    templates += ["models/{model}:predict", "models/{model:int}", "models/xor"]
    matching = [route for route in map(Route, templates) if route.match("GET", path) is not None]

    assert min(matching, key=lambda route: route.specificity).template == winner


def test_a_route_matches_its_methods_only_or_all_if_it_has_none() -> None:
    route = Route("models", ("GET", "POST"))

    assert [route.match(method, "/models") for method in ("POST", "DELETE", "HEAD")] == [{}, None, None]
    assert Route("models").match("PROPFIND", "/models") == {}
