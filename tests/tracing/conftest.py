"""A tracer provider for the length of a test; its spans are kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Spans = Callable[[], dict[str, ReadableSpan]]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """What the site has set; a process can set one once, so it is put in place by hand."""
    found = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", found)
    yield found
    found.shutdown()


@pytest.fixture
def spans(provider: TracerProvider) -> Spans:
    """The spans that have ended so far, by their names, of which there is one each."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def ended() -> dict[str, ReadableSpan]:
        found = {span.name: span for span in exporter.get_finished_spans()}
        assert len(found) == len(exporter.get_finished_spans())
        return found

    return ended
