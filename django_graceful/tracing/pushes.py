"""The span of a push, in the thread that pushes. Needs OpenTelemetry's API: call it with a tracer, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_graceful.tracing import logger
from django_graceful.tracing.words import attributes

_propagator = TraceContextTextMapPropagator()


def pushed(tracer: Any, queue: str, put: Callable[[dict[str, str]], list[str]]) -> list[str]:
    """``put``, called with the trace context that the items are to carry, within the span of this push. Its ids.

    Raises what ``put`` raises; the span has it then. With ``on_commit`` the span ends when the push is noted.
    """
    noted = attributes(queue, "push", "send")
    try:
        span = tracer.start_span(f"push {queue}", kind=SpanKind.PRODUCER, attributes=noted)
    except Exception:
        logger.exception("a push to queue %s could not be traced", queue)
        return put({})
    with use_span(span, end_on_exit=True):
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        ids = put(carrier)
        if len(ids) == 1:
            span.set_attribute("messaging.message.id", ids[0])
        else:
            span.set_attribute("messaging.batch.message_count", len(ids))
        return ids
