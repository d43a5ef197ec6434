"""The page and the OpenAPI document, as their functions answer."""

import asyncio
import base64
import hashlib
import json

import azure.functions as func
import pytest

from serving.endpoints.openapi import OpenApi
from serving.endpoints.page import Page
from serving.http import handle
from serving.openapi import document

HTML = "<style>p {\n}</style><p>Grün</p><script>one()</script>\n<script>two()</script>"
BINDINGS = [
    {"type": "httpTrigger", "direction": "in", "name": "req", "route": "v1/models/{*path}"},
    {"type": "http", "direction": "out", "name": "$return"},
]
SCRIPT = "from serving.endpoints.tf_serving import TfServing\nTfServing()\ndef main(req): pass"


def call(endpoint, method="GET", url="https://app/api/any", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = func.HttpRequest(method=method, url=url, headers=named, body=b"")
    return asyncio.run(handle(request, endpoint))


@pytest.fixture
def page(models, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(HTML, encoding="utf-8")
    return Page(path)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_is_answered_as_html_that_no_cache_keeps(page, method):
    response = call(page, method)

    assert (response.status_code, response.mimetype, response.get_body()) == (200, "text/html", HTML.encode())
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_may_run_its_own_styles_and_scripts_only(page):
    def sha256(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert call(page).headers["Content-Security-Policy"].split("; ") == [
        *("default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'"),
        "frame-ancestors 'none'",
        f"style-src {sha256('p {' + chr(10) + '}')}",
        f"script-src {sha256('one()')} {sha256('two()')}",
    ]


def app_folder(tmp_path):
    folder = tmp_path / "app" / "Any"
    folder.mkdir(parents=True)
    (folder / "function.json").write_text(json.dumps({"bindings": BINDINGS}))
    (folder / "__init__.py").write_text(SCRIPT)
    return folder.parent


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_document_has_the_functions_of_the_app_and_the_models_that_can_be_read(put, models, tmp_path, method):
    put("scale", lambda x: x)
    (models / "broken" / "1").mkdir(parents=True)

    response = call(OpenApi(app_folder(tmp_path)), method)

    content = json.loads(response.get_body())
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert content["servers"] == [{"url": "https://app/api"}]
    assert list(content["paths"]) == [f"/v1/models/scale{rest}" for rest in (":predict", "", "/metadata")]


@pytest.mark.usefixtures("models")
def test_pages_are_read_only(page):
    for endpoint in (page, OpenApi()):
        response = call(endpoint, "POST")
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("url", "headers", "server"),
    [
        ("https://app.example:8443/api/openapi.json", {}, "https://app.example:8443/api"),
        ("http://[::1]:7071/openapi.json", {}, "http://[::1]:7071"),
        ("http://pod/api/openapi.json", {"x_forwarded_host": "a.example, b", "x_forwarded_proto": "https"}, None),
        ("http://app/api/openapi.json", {"x_forwarded_host": 'evil"}]<script>'}, "."),
        ("http://app/api/openapi.json", {"x_forwarded_host": "evil.example/path"}, "."),
        ("http://app/api/openapi.json", {"x_forwarded_host": "user@evil.example"}, "."),
        ("http://app/api/openapi.json", {"x_forwarded_proto": "javascript"}, "."),
        ("http://app/<b>/openapi.json", {}, "."),
        (f"http://{'a' * 300}/api/openapi.json", {}, "."),
    ],
)
def test_the_document_names_the_server_that_the_client_called(url, headers, server):
    response = call(OpenApi(), url=url, **headers)

    assert json.loads(response.get_body())["servers"] == [{"url": server or "https://a.example/api"}]
    assert response.headers["Vary"] == "Host, X-Forwarded-Host, X-Forwarded-Proto"
    assert "private" in response.headers["Cache-Control"]


def test_the_document_is_made_again_only_when_the_models_have_changed(put, models, tmp_path, monkeypatch):
    put("a", lambda x: x)
    made, whole = [], document.document

    def count(*arguments):
        made.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(document, "document", count)
    endpoint = OpenApi(app_folder(tmp_path))

    paths = [json.loads(call(endpoint, url=f"https://{host}/api/x").get_body())["paths"] for host in ("one", "two")]
    assert paths[0] == paths[1]
    assert len(made) == 1
    put("b", lambda x: x)
    assert "/v1/models/b" in json.loads(call(endpoint).get_body())["paths"]
    assert len(made) == 2
