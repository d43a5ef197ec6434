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

HTML = "<style>p {\n}</style><p>Grün</p><script>one()</script>\n<script>two()</script>"
BINDINGS = [
    {"type": "httpTrigger", "direction": "in", "name": "req", "route": "v1/models/{*path}"},
    {"type": "http", "direction": "out", "name": "$return"},
]
SCRIPT = "from serving.endpoints.tf_serving import TfServing\nTfServing()\ndef main(req): pass"


def call(endpoint, method="GET"):
    request = func.HttpRequest(method=method, url="https://app/api/any", body=b"")
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


def test_a_page_may_run_its_own_styles_and_scripts_only(page):
    def sha256(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert call(page).headers["Content-Security-Policy"].split("; ") == [
        *("default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'"),
        f"style-src {sha256('p {' + chr(10) + '}')}",
        f"script-src {sha256('one()')} {sha256('two()')}",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_document_has_the_functions_of_the_app_and_the_models_that_can_be_read(put, models, tmp_path, method):
    put("scale", lambda x: x)
    (models / "broken" / "1").mkdir(parents=True)
    folder = tmp_path / "app" / "Any"
    folder.mkdir(parents=True)
    (folder / "function.json").write_text(json.dumps({"bindings": BINDINGS}))
    (folder / "__init__.py").write_text(SCRIPT)

    response = call(OpenApi(tmp_path / "app"), method)

    content = json.loads(response.get_body())
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert content["servers"] == [{"url": "."}]
    assert list(content["paths"]) == [f"/v1/models/scale{rest}" for rest in (":predict", "", "/metadata")]


@pytest.mark.usefixtures("models")
def test_pages_are_read_only(page):
    for endpoint in (page, OpenApi()):
        response = call(endpoint, "POST")
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
