"""Spans join a push and its runs; without a provider of tracers there is nothing, not even an import."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from django_graceful import CancelProcess, lifecycle, queue, queues, tracing
from django_graceful.exceptions import PayloadError
from django_graceful.items import TIMED, Item, Outcome, decode_item, encode_meta, encode_record, id_of, new_id
from django_graceful.queues import Queue
from django_graceful.runner.executing import Execution
from django_graceful.runner.wire import Unit
from django_graceful.stores.base import Ending, Lease
from django_graceful.stores.engine.owner import Engine
from django_graceful.stores.memory import MemoryKV
from django_graceful.tracing import runs
from tests.tracing.conftest import Spans

Run = Callable[..., Any]


class Kept:
    """A store that keeps what is pushed."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def push(self, queue: str, records: list[bytes], limit: int = 0) -> list[bytes]:
        self.records += records
        return [id_of(record) for record in records]

    @property
    def items(self) -> list[Item]:
        return [decode_item("q", record) for record in self.records]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    found = Kept()
    monkeypatch.setattr("django_graceful.pushing.get_store", lambda alias: found)
    return found


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "_registry", {})


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hooks that were registered for the end of this process."""
    found: list[Any] = []
    monkeypatch.setattr(lifecycle, "at_terminate", lambda hook, **options: found.append((hook, options)))
    monkeypatch.setattr(runs, "_flushing", 0)
    return found


def run(declared: Queue[Any], records: list[bytes], *, batch: bool = False) -> Any:
    """Run these items as a worker does, and what the handler gave or raised."""
    leases = [Lease(n, record) for n, record in enumerate(records, 1)]
    execution = Execution(Unit(0, declared.name, batch, leases))
    payloads = [job.payload for job in execution.jobs]
    found = execution.handler()(payloads if batch else payloads[0])
    return asyncio.run(found) if declared.is_async else found


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_is_below_its_push_and_what_the_handler_traces_is_below_the_run(
    kept: Kept, spans: Spans, *, is_async: bool
) -> None:
    tracer = trace.get_tracer("site")

    def work(payload: Any) -> Any:
        with tracer.start_as_current_span("inner"):
            return payload

    async def awork(payload: Any) -> Any:
        await asyncio.sleep(0)
        return work(payload)

    declared = queue("mail")(awork if is_async else work)
    with tracer.start_as_current_span("request"):
        item = declared.push({"n": 1})
    assert run(declared, kept.records) == {"n": 1}
    found = spans()
    request, push, process, inner = (found[name] for name in ("request", "push mail", "process mail", "inner"))
    assert (push.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    for parent, child in ((request, push), (push, process), (process, inner)):
        assert child.parent is not None
        assert child.parent.span_id == parent.context.span_id
        assert child.context.trace_id == request.context.trace_id
    common = {"messaging.system": "django_graceful", "messaging.destination.name": "mail", "messaging.message.id": item}
    assert push.attributes == common | {"messaging.operation.name": "push", "messaging.operation.type": "send"}
    assert process.attributes == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "graceful.attempt": 0,
    }
    assert process.status.status_code is StatusCode.UNSET


def test_a_batch_has_a_trace_of_its_own_with_a_link_to_the_push_of_each_item(kept: Kept, spans: Spans) -> None:
    declared = queue("mail", batch_length=5)(lambda payloads: None)
    first, second = declared.push_many([1, 2])
    kept.records.append(encode_record(new_id(), b"3", pushed_at=1))  # of before the site traced
    run(declared, kept.records, batch=True)
    push, process = spans()["push mail"], spans()["process mail"]
    assert process.parent is None
    assert process.context.trace_id != push.context.trace_id
    assert [link.context.span_id for link in process.links] == [push.context.span_id] * 2
    assert [dict(link.attributes or {}) for link in process.links] == [
        {"messaging.message.id": first},
        {"messaging.message.id": second},
    ]
    assert (push.attributes or {})["messaging.batch.message_count"] == 2
    assert (process.attributes or {})["messaging.batch.message_count"] == 3


def test_the_context_stays_with_an_item_that_failed_and_the_next_run_is_below_the_same_push(
    kept: Kept, spans: Spans
) -> None:
    declared = queue("mail")(lambda payload: None)
    declared.push(1, timeout=7)
    store = Engine(MemoryKV())
    store.push("mail", kept.records)
    (lease,) = store.lease("mail", 1, "worker")
    store.finish((), [Ending(lease.execution, Outcome.RETRY, error={"type": "X", "message": "", "traceback": ""})])
    while store.prepare():
        pass
    (again,) = store.lease("mail", 1, "worker")
    item = decode_item("mail", again.record)
    assert item.attempt == 1
    assert item.flags & TIMED
    assert item.meta["timeout"] == 7
    run(declared, [again.record])
    process = spans()["process mail"]
    assert process.parent is not None
    assert process.parent.span_id == spans()["push mail"].context.span_id
    assert (process.attributes or {})["graceful.attempt"] == 1


def test_a_failure_is_on_the_span_and_travels_on(kept: Kept, spans: Spans) -> None:
    @queue("mail")
    def mail(payload: Any) -> None:
        raise SystemExit(3)

    mail.push(1)
    with pytest.raises(SystemExit):
        run(mail, kept.records)
    span = spans()["process mail"]
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "SystemExit"
    assert [event.name for event in span.events] == ["exception"]


def test_a_cancel_is_no_failure(kept: Kept, spans: Spans) -> None:
    @queue("mail")
    def mail(payload: Any) -> None:
        raise CancelProcess("enough")

    mail.push(1)
    with pytest.raises(CancelProcess):
        run(mail, kept.records)
    span = spans()["process mail"]
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["graceful.cancelled"] is True
    assert not span.events


def test_a_push_that_failed_is_a_span_with_its_error(kept: Kept, spans: Spans) -> None:
    declared = queue("mail")(lambda payload: None)
    with pytest.raises(PayloadError):
        declared.push(object())
    assert spans()["push mail"].status.status_code is StatusCode.ERROR
    assert kept.records == []


def test_an_immediate_queue_runs_within_its_push(spans: Spans) -> None:
    tracer = trace.get_tracer("site")

    @queue("mail", immediate=True)
    def mail(payload: Any) -> None:
        with tracer.start_as_current_span("inner"):
            pass

    mail.push(1)
    inner = spans()["inner"]
    assert inner.parent is not None
    assert inner.parent.span_id == spans()["push mail"].context.span_id


@pytest.mark.parametrize("meta", [{"trace": 5}, {"trace": {"traceparent": 7}}, {"trace": {"traceparent": "00-x"}}, {}])
def test_what_is_no_trace_context_begins_a_trace(spans: Spans, meta: dict[str, Any]) -> None:
    declared = queue("mail")(lambda payload: None)
    run(declared, [encode_record(new_id(), b"1", pushed_at=1, meta=encode_meta(meta))])
    assert spans()["process mail"].parent is None


def test_the_span_of_a_run_is_not_below_what_its_worker_does_meanwhile(spans: Spans) -> None:
    declared = queue("mail")(lambda payload: None)
    with trace.get_tracer("site").start_as_current_span("outer"):
        run(declared, [encode_record(new_id(), b"1", pushed_at=1)])
    assert spans()["process mail"].parent is None


def test_without_a_provider_items_carry_nothing_and_handlers_are_called_themselves(kept: Kept) -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert tracing.tracer() is None
    declared = queue("mail")(lambda payload: None)
    declared.push(1)
    assert kept.items[0].meta == {}
    assert Execution(Unit(0, "mail", False, [Lease(1, kept.records[0])])).handler() is declared.handler


def test_a_provider_that_is_set_later_is_found_and_one_that_does_nothing_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tracing.tracer() is None
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
    assert tracing.tracer() is not None
    assert tracing.tracer() is tracing.tracer()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    assert tracing.tracer() is None


def test_opentelemetry_is_not_imported_by_who_does_not_use_it() -> None:
    code = (
        "import sys, django; from django.conf import settings; settings.configure(INSTALLED_APPS=['django_graceful'],"
        "GRACEFUL={'STORES': {'default': {'BACKEND': 'memory'}}}); django.setup()\n"
        "import django_graceful.runner.worker, django_graceful.queues\n"
        "django_graceful.queues.queue('now', immediate=True)(print).push(1)\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus_client'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_span_that_can_not_begin_costs_neither_the_push_nor_the_run(
    kept: Kept, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Span, parent_context: Any = None) -> None:
            raise RuntimeError("no luck")

    provider.add_span_processor(Broken())
    declared = queue("mail")(lambda payload: payload + 1)
    declared.push(1)
    assert run(declared, kept.records) == 2
    assert [record.message for record in caplog.records] == [
        "a push to queue mail could not be traced",
        "a run of queue mail could not be traced",
    ]


def test_a_process_that_runs_items_hands_its_spans_over_at_its_end_once(
    spans: Spans, hooks: list[Any], monkeypatch: pytest.MonkeyPatch, provider: TracerProvider
) -> None:
    declared = queue("mail")(lambda payload: None)
    record = encode_record(new_id(), b"1", pushed_at=1)
    Execution(Unit(0, "mail", False, [Lease(1, record)])).handler()
    Execution(Unit(0, "mail", False, [Lease(1, record)])).handler()
    ((flush, options),) = hooks
    assert options == {"name": "opentelemetry", "timeout": 2.0}
    flushed: list[int] = []
    monkeypatch.setattr(provider, "force_flush", flushed.append)
    flush()
    assert flushed == [2000]
    assert declared.name == "mail"
