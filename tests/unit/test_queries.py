"""The queries of docs/operating.md and of the alert rules ask for what the app logs."""

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from serving import http
from serving.endpoints.predict_x import PredictX
from serving.errors import ModelUnavailableError
from serving.models import repository
from serving.models.model import Model
from tests.fixtures import PROJECT_ROOT as PROJECT

QUERIES = re.findall(r"```kql\n(.+?)```", (PROJECT / "docs/operating.md").read_text(encoding="utf-8"), re.DOTALL)


def _post(body: bytes, model: str = "adder") -> func.HttpResponse:
    request = func.HttpRequest(method="POST", url="https://app/api/Adder", body=body)
    return asyncio.run(http.handle(request, PredictX(model)))


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "serving.request"]


def test_the_page_has_a_query_for_each_of_its_questions() -> None:
    assert len(QUERIES) > 10


@pytest.mark.usefixtures("adder")
def test_every_field_of_the_queries_is_logged_and_every_logged_one_is_asked_for(caplog, monkeypatch):
    alone = Model.predict

    async def with_others(self: Model, feeds: Any, signature: str) -> tuple[Any, int]:
        fetches, _ = await alone(self, feeds, signature)
        return fetches, 5

    monkeypatch.setattr(Model, "predict", with_others)
    with caplog.at_level(logging.INFO, "serving.request"):
        assert _post(b'{"X": "1 2"}').status_code == 200
        assert _post(b"no JSON").status_code == 400
    logged = {field for line in _lines(caplog) for field in json.loads(line)}
    text = "".join(QUERIES)

    assert {*re.findall(r"\bline\.(\w+)", text), *re.findall(r'"(\w+_ms)"', text)} == logged


@pytest.mark.usefixtures("adder")
def test_the_queries_find_the_line_of_a_request_by_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "serving.request"):
        _post(b'{"X": "1 2"}')
    beginnings = set(re.findall(r"message startswith '(.+?)'", "".join(QUERIES)))

    assert len(beginnings) == 1
    assert all(line.startswith(*beginnings) for line in _lines(caplog))


@pytest.mark.usefixtures("adder")
def test_the_query_for_loads_reads_the_line_that_a_load_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "serving"):
        _post(b'{"X": "1 2"}')
    (query,) = (query for query in QUERIES if "parse message with" in query)
    [columns] = re.findall(r"parse message with (.+)", query)
    parts = re.findall(r'"(.+?)" ?([\w:]*)', columns)
    pattern = "".join(re.escape(text) + (r"(.+)" if column else "") for text, column in parts)

    (found,) = (match for record in caplog.records if (match := re.fullmatch(pattern, record.getMessage())))
    assert found[1] == "adder"
    assert found[2] == "3"
    assert found[3] == "tensorflow"
    assert float(found[4]) >= 0


def test_the_alert_on_loads_finds_what_a_failed_load_logs(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    (models / "broken" / "1").mkdir(parents=True)
    with caplog.at_level(logging.INFO, "serving"):
        assert _post(b'{"X": "1 2"}', "broken").status_code == 503
        repository.shared().preload()
    query = (PROJECT / "infra/alerts/model-load-failures.kql").read_text(encoding="utf-8")
    words = re.findall(r'message has "(.+?)"', query)
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]

    assert ModelUnavailableError.__name__ in words
    assert all(any(word in error for word in words) for error in errors)
    assert all(any(word in error for error in errors) for word in words)


def test_the_function_that_alerts_leave_out_is_the_probe() -> None:
    queries = {path.name: path.read_text(encoding="utf-8") for path in (PROJECT / "infra/alerts").glob("*.kql")}
    left_out = {name for query in queries.values() for name in re.findall(r'operation_Name != "(\w+)"', query)}

    assert left_out == {"Health"}
    assert (PROJECT / "Health/function.json").is_file()


def test_the_columns_that_alert_rules_read_are_what_their_queries_answer_with() -> None:
    rules = re.findall(
        r"loadTextContent\('(.+?)'\)\s+column: '(\w+)'", (PROJECT / "infra/alerts.bicep").read_text(encoding="utf-8")
    )

    assert len(rules) == len(list((PROJECT / "infra/alerts").iterdir()))
    for path, column in rules:
        last = (PROJECT / "infra" / path).read_text(encoding="utf-8").strip().splitlines()[-1]
        assert re.match(rf"\| (project|summarize) {column}\b", last), path
