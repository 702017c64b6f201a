"""The span of a run, around the call of its handler and in the context of that call; what the handler traces is below
it. Needs OpenTelemetry's API.

The worker process that has made such a span hands all spans over before it ends, within two seconds; one that is killed
does not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_graceful import lifecycle
from django_graceful.exceptions import Cancelled, CancelProcess, NodeEnding, RecordError
from django_graceful.items import Header, decode_meta
from django_graceful.tracing import META, logger
from django_graceful.tracing.words import attributes

#: Seconds for handing the last spans over at the end of the process.
_FLUSH: Final = 2.0
#: Ends of a run that are no failure.
_STOPPED: Final = (Cancelled, CancelProcess, asyncio.CancelledError)

_propagator = TraceContextTextMapPropagator()
#: The OS process that flushes at its end.
_flushing = 0


def traced(
    tracer: Any, queue: str, handler: Callable[[Any], Any], headers: Sequence[Header], *, is_async: bool, batch: bool
) -> Callable[[Any], Any]:
    """``handler``, within a span for the run of the items with these headers. Raises nothing."""
    _flush_at_the_end()

    async def run_async(argument: Any) -> Any:
        with _span(tracer, queue, headers, batch):
            return await handler(argument)

    def run(argument: Any) -> Any:
        with _span(tracer, queue, headers, batch):
            return handler(argument)

    return run_async if is_async else run


@contextmanager
def _span(tracer: Any, queue: str, headers: Sequence[Header], batch: bool) -> Iterator[None]:
    try:
        span = _start(tracer, queue, headers, batch)
    except Exception:
        logger.exception("a run of queue %s could not be traced", queue)
        yield
        return
    # what the handler raised is noted here: a cancel is no error
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except _STOPPED:
            span.set_attribute("graceful.cancelled", value=True)
            raise
        except BaseException as error:
            span.record_exception(error)
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise


def _start(tracer: Any, queue: str, headers: Sequence[Header], batch: bool) -> Any:
    """The span: that of one item is below its push, that of a batch begins a trace and links to the pushes."""
    noted = attributes(queue, "process", "process")
    parent, links = Context(), []
    if batch:
        noted["messaging.batch.message_count"] = len(headers)
        for header in headers:
            context = trace.get_current_span(_pushed_in(header)).get_span_context()
            if context.is_valid:
                links.append(Link(context, {"messaging.message.id": header.id.hex()}))
    else:
        header = headers[0]
        parent = _pushed_in(header)
        noted |= {"messaging.message.id": header.id.hex(), "graceful.attempt": header.attempt}
    return tracer.start_span(f"process {queue}", parent, SpanKind.CONSUMER, noted, links)


def _pushed_in(header: Header) -> Context:
    """The trace context of the push of this item; an empty one when it has none, or something else in its place."""
    carrier: Any = None
    with suppress(RecordError):
        carrier = decode_meta(header.meta).get(META)
    known = {name: text for name, text in carrier.items() if isinstance(text, str)} if isinstance(carrier, dict) else {}
    return _propagator.extract(known, Context())


def _flush_at_the_end() -> None:
    global _flushing
    if _flushing != os.getpid():
        _flushing = os.getpid()
        with suppress(NodeEnding):
            lifecycle.at_terminate(_flush, name="opentelemetry", timeout=_FLUSH)


def _flush() -> None:
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush(int(_FLUSH * 1000))
