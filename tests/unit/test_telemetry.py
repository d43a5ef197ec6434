"""Spans and metrics of requests, as the SDK's in-memory exporter and reader get them; and nothing where it is off."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving import http, telemetry
from serving.endpoints.predict_x import PredictX
from tests.fixtures import PROJECT_ROOT, lay_out_app

PARTS = ["load", "parse", "predict", "encode"]
# Run in the folder of an app.
ASK = """
import asyncio, sys, azure.functions as func, PredictParity
request = func.HttpRequest(method="POST", url="https://app/api/A", body=b'{"X": "1 0"}')
assert asyncio.run(PredictParity.main(request)).status_code == 200
"""

Recorded = tuple[InMemorySpanExporter, InMemoryMetricReader]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Turn telemetry on in a process that has set up OpenTelemetry; return its span exporter and metric reader."""
    monkeypatch.setenv("PYTHON_ENABLE_OPENTELEMETRY", "true")
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([reader])
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
    telemetry.shared.cache_clear()
    http._telemetry.cache_clear()
    yield spans, reader
    telemetry.shared.cache_clear()
    http._telemetry.cache_clear()


def post(body: str = '{"X": "1 2|3 4|5 6"}', model: str = "adder", context: Any = None) -> func.HttpResponse:
    request = func.HttpRequest(method="POST", url="https://app/api/A", body=body.encode())
    return asyncio.run(http.handle(request, PredictX(model), context))


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    found = [
        metric
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
    ]
    return [point for metric in found for point in metric.data.data_points]


def test_a_request_is_a_span_with_its_parts_in_their_order_below_it(on: Recorded, adder: None) -> None:
    spans, _ = on

    assert post().status_code == 200

    *parts, request = sorted(
        spans.get_finished_spans(), key=lambda span: span.end_time - (span.name != "serving.request")
    )
    assert request.name == "serving.request"
    assert [part.name for part in parts] == PARTS
    assert {part.parent.span_id for part in parts} == {request.context.span_id}
    assert request.start_time <= parts[0].start_time
    for before, after in pairwise(parts):
        assert before.end_time == after.start_time
    assert parts[-1].end_time <= request.end_time + 1000  # nanoseconds lost in adding up
    assert request.attributes == {
        "http.response.status_code": 200,
        "serving.model": "adder",
        "serving.version": 3,
        "serving.engine": "tensorflow",
        "serving.rows": 3,
    }


def test_metrics_are_counted_by_model_and_a_batch_by_its_rows(on: Recorded) -> None:
    _, reader = on
    facts = {"model": "m", "version": 3, "rows": 2, "batch_rows": 8}
    exchange: Any = SimpleNamespace(facts=facts, stopwatch=SimpleNamespace(laps={"load": 500.0, "predict": 250.0}))

    telemetry.shared().record(exchange, 200)

    of_model = {"serving.model": "m", "serving.version": 3}
    for name, value in (("cold_starts", 1), ("rows", 2)):
        [point] = points(reader, f"serving.{name}")
        assert (point.value, point.attributes) == (value, of_model)
    [batch] = points(reader, "serving.batch_rows")
    assert (batch.sum, batch.attributes) == (8, of_model)
    durations = {point.attributes["serving.part"]: point.sum for point in points(reader, "serving.duration")}
    assert durations == {"load": 0.5, "predict": 0.25}


@pytest.mark.parametrize(("status", "says"), [(500, "PredictionError"), (499, None)])
def test_an_error_of_the_app_has_its_name(on: Recorded, status: int, says: str | None) -> None:
    spans, _ = on
    exchange: Any = SimpleNamespace(facts={"error": "PredictionError"}, stopwatch=SimpleNamespace(laps={}))

    telemetry.shared().record(exchange, status)

    [request] = spans.get_finished_spans()
    assert request.status.description == says


def test_a_span_belongs_to_the_worker_s_invocation(on: Recorded, adder: None) -> None:
    spans, _ = on
    invocation = trace.SpanContext(7, 9, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))

    with trace.use_span(trace.NonRecordingSpan(invocation)):
        post()

    [request] = [span for span in spans.get_finished_spans() if span.name == "serving.request"]
    assert (request.context.trace_id, request.parent.span_id) == (7, 9)


@pytest.mark.parametrize(
    ("model", "status", "code"), [("broken", 503, trace.StatusCode.ERROR), ("adder", 400, trace.StatusCode.UNSET)]
)
@pytest.mark.usefixtures("adder")
def test_a_failure_of_the_app_is_an_error_and_a_mistake_of_a_client_is_not(on, models, model, status, code):
    spans, _ = on
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "saved_model.pb").write_bytes(b"no model")

    assert post("no JSON", model).status_code == status

    [request] = [span for span in spans.get_finished_spans() if span.name == "serving.request"]
    assert request.status.status_code is code
    assert request.attributes["http.response.status_code"] == status
    assert request.attributes["serving.error"]


def test_metrics_count_predictions_rows_cold_starts_batches_and_times(on: Recorded, adder: None) -> None:
    _, reader = on
    for body in ('{"X": "1 2|3 4|5 6"}', '{"X": "1 2"}', '{"X": "1 x"}'):
        post(body)

    of_model = {"serving.model": "adder", "serving.version": 3}
    [predictions] = points(reader, "serving.predictions")
    assert (predictions.value, dict(predictions.attributes)) == (2, {**of_model, "http.response.status_code": 200})
    assert [point.value for point in points(reader, "serving.rows")] == [4]
    assert [point.value for point in points(reader, "serving.cold_starts")] == [1]
    [batches] = points(reader, "serving.batch_rows")
    assert (batches.count, batches.sum, batches.max) == (2, 4, 3)
    durations = {point.attributes["serving.part"]: point for point in points(reader, "serving.duration")}
    assert set(durations) == set(PARTS)
    assert durations["predict"].count == 2
    assert 0 < durations["load"].sum < 60  # seconds


def test_nothing_of_opentelemetry_is_imported_when_it_is_off(tmp_path: Path) -> None:
    code = ASK + "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON_")}

    subprocess.run([sys.executable, "-c", code], cwd=lay_out_app(tmp_path), env=environment, check=True)


def test_telemetry_without_its_packages_is_logged_once_and_breaks_nothing(monkeypatch, adder, caplog):
    monkeypatch.setenv("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "1")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "serving.telemetry")
    http._telemetry.cache_clear()

    with caplog.at_level(logging.WARNING):
        assert [post().status_code for _ in range(2)] == [200, 200]

    [line] = [record.getMessage() for record in caplog.records if "Telemetry is on" in record.getMessage()]
    assert "docs/operating.md" in line
    http._telemetry.cache_clear()


class Context:
    """An invocation as the worker passes it: each thread has a storage of its own."""

    class Storage(threading.local):
        invocation_id: str | None = None

    invocation_id = "id-7"

    def __init__(self) -> None:
        self.thread_local_storage = self.Storage()


def test_the_log_of_the_thread_that_loads_carries_the_invocation_s_id(adder, caplog):
    context = Context()
    seen: dict[str, str | None] = {}

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen[record.getMessage().partition(" ")[0]] = context.thread_local_storage.invocation_id

    handler = Handler()
    logging.getLogger("serving").addHandler(handler)
    caplog.set_level(logging.INFO, "serving")
    try:
        post(context=context)
    finally:
        logging.getLogger("serving").removeHandler(handler)

    assert seen["Loaded"] == "id-7"


def test_a_thread_goes_on_to_serve_others():
    context: Any = Context()

    with http._invocation_in_thread(context):
        assert context.thread_local_storage.invocation_id == "id-7"

    assert context.thread_local_storage.invocation_id is None


def test_spans_and_metrics_reach_an_otlp_endpoint(tmp_path: Path) -> None:
    received: dict[str, bytes] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received[self.path] = received.get(self.path, b"") + self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("localhost", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://localhost:{server.server_port}"
        environment = {
            **os.environ,
            "PYTHON_ENABLE_OPENTELEMETRY": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        subprocess.run([sys.executable, "-c", ASK], cwd=lay_out_app(tmp_path), env=environment, check=True)
        server.shutdown()

    assert b"serving.request" in received["/v1/traces"]
    assert b"predict" in received["/v1/traces"]
    assert b"serving.predictions" in received["/v1/metrics"]


def test_otlp_is_set_up_where_nothing_is() -> None:
    code = (
        "from serving import telemetry\n"
        "from opentelemetry import trace, metrics\n"
        "telemetry.shared()\n"
        "print(type(trace.get_tracer_provider()).__module__, type(metrics.get_meter_provider()).__module__)\n"
        "import os; os._exit(0)\n"  # without the last export, which nothing would receive
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["opentelemetry.sdk.trace", "opentelemetry.sdk.metrics._internal"]
