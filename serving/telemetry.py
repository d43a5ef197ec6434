"""OpenTelemetry: a span for each request and for each of its parts, and metrics. Imported only when turned on.

The app settings are those of the worker's own telemetry. With PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY, the worker
has set up Azure Monitor's distribution. With PYTHON_ENABLE_OPENTELEMETRY, the providers are those that a function set
up, if any; otherwise this module sets up OTLP from the standard OTEL_ variables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from time import time_ns

from opentelemetry import metrics, trace
from opentelemetry.trace import Status, StatusCode

from serving.exchange import Exchange

_logger = logging.getLogger("serving.telemetry")
_NS = 1_000_000  # nanoseconds in a millisecond


class Telemetry:
    """Records answered requests as spans and metrics, with the process's providers."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("serving")
        meter = metrics.get_meter("serving")
        self._predictions = meter.create_counter("serving.predictions", "{request}", "requests that ran a model")
        self._rows = meter.create_counter("serving.rows", "{row}", "rows predicted")
        self._cold_starts = meter.create_counter("serving.cold_starts", "{start}", "requests that waited for a load")
        self._batch_rows = meter.create_histogram("serving.batch_rows", "{row}", "rows in a batch")
        self._duration = meter.create_histogram("serving.duration", "s", "duration of a part of a request")

    def record(self, exchange: Exchange, status: int) -> None:
        """Record a request that was just answered: spans below the worker's own span, and metrics."""
        laps = exchange.stopwatch.laps
        self._trace(exchange.facts, laps, status)
        of_model = _attributes(exchange.facts, ("model", "version"))
        for part, milliseconds in laps.items():
            self._duration.record(milliseconds / 1e3, {**of_model, "serving.part": part})
        if "load" in laps:
            self._cold_starts.add(1, of_model)
        rows = exchange.facts.get("rows")
        if isinstance(rows, int):
            self._predictions.add(1, {**of_model, "http.response.status_code": status})
            self._rows.add(rows, of_model)
            batch_rows = exchange.facts.get("batch_rows", rows)
            self._batch_rows.record(batch_rows if isinstance(batch_rows, int) else rows, of_model)

    def _trace(self, facts: Mapping[str, object], laps: Mapping[str, float], status: int) -> None:
        # The parts have no gaps between them, and the last part has just ended.
        end = time_ns()
        start = end - int(sum(laps.values()) * _NS)
        request = self._tracer.start_span("serving.request", start_time=start)
        request.set_attribute("http.response.status_code", status)
        request.set_attributes(_attributes(facts, facts))
        if status >= 500:
            request.set_status(Status(StatusCode.ERROR, str(facts.get("error", ""))))
        parent = trace.set_span_in_context(request)
        for part, milliseconds in laps.items():
            span = self._tracer.start_span(part, context=parent, start_time=start)
            start += int(milliseconds * _NS)
            span.end(end_time=start)
        request.end(end_time=end)


def _attributes(facts: Mapping[str, object], names: Iterable[str]) -> dict[str, str | int | float]:
    named = {f"serving.{name}": facts[name] for name in names if name in facts}
    return {name: value for name, value in named.items() if isinstance(value, (str, int, float))}


@cache
def shared() -> Telemetry:
    """Return the only instance in the process. Sets up providers if neither the worker nor the app has."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        _set_up_otlp()
    return Telemetry()


def _set_up_otlp() -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    _logger.info("OpenTelemetry exports by OTLP, as set by the OTEL_EXPORTER_OTLP_ variables.")
