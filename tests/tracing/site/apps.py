"""Spans are collected in the background, handed over every hour, and appended to a file, a line of JSON for each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from django.apps import AppConfig
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class ToFile(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with open(os.environ["GRACEFUL_TEST_OUT"] + ".spans", "a") as file:
            for span in spans:
                above = span.parent and format(span.parent.span_id, "x")
                links = [format(link.context.span_id, "x") for link in span.links]
                file.write(json.dumps({"name": span.name, "parent": above, "links": links, "pid": os.getpid()}) + "\n")
        return SpanExportResult.SUCCESS


class Config(AppConfig):
    name = "tests.tracing.site"
    label = "tracing_site"

    def ready(self) -> None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(ToFile(), schedule_delay_millis=3_600_000))
        trace.set_tracer_provider(provider)
