"""Every way of running makes the span of the run, below the push of another process, and none is lost at a stop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness import Site
from tests.site import queues
from tests.spill.conftest import Fast, fast  # noqa: F401
from tests.tracing.conftest import Spans


@pytest.mark.process
def test_workers_trace_what_they_run_in_the_main_thread_in_threads_and_in_tasks(site: Site, spans: Spans) -> None:
    runner = site.runner(env={"GRACEFUL_TEST_APP": "tests.tracing.site"}).serving()
    queues.record.push(1)
    for number, one in enumerate((queues.coroutine, queues.threaded, queues.tasks)):
        one.push({"n": number, "seconds": 0})
    queues.batch.push_many([{"n": 7}, {"n": 8}])
    for line in ("record 1", "end 0", "end 1", "end 2", "batch 7 8"):
        site.said(line)
    queues.slow.push({"n": 3, "seconds": 0.3})
    site.said("start 3")
    assert runner.stop() == 0
    assert "end 3" in site.lines(), "the thread that hands spans over is no reason to die of a drain"
    told = [json.loads(line) for line in (site.out.parent / "out.txt.spans").read_text().splitlines()]
    found: dict[str, Any] = {span["name"]: span for span in told}
    pushes = {name: format(span.context.span_id, "x") for name, span in spans().items()}
    assert len(told) == len(pushes) == 6
    for name in ("record", "coroutine", "threaded", "tasks", "slow"):
        assert found[f"process {name}"]["parent"] == pushes[f"push {name}"]
    assert found["process batch"]["parent"] is None
    assert found["process batch"]["links"] == [pushes["push batch"]] * 2
    assert runner.pid not in {span["pid"] for span in told}


@pytest.mark.parametrize("is_async", [False, True])
def test_so_do_the_threads_of_a_memory_store(fast: Fast, spans: Spans, *, is_async: bool) -> None:  # noqa: F811
    async def handler(payload: Any) -> None:
        fast.did.append(payload)

    declared = fast.queue(handler if is_async else None)
    declared.push(1)
    fast.begun(1)
    fast.idle()
    process, push = spans()["process q"], spans()["push q"]
    assert process.parent is not None
    assert process.parent.span_id == push.context.span_id
