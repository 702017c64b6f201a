"""What workers hold and have not begun is back in the store as soon as the node drains (promise P4)."""

from __future__ import annotations

import time

import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Runner, Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process


def test_prefetched_items_are_back_in_order_uncharged_at_once_when_a_drain_begins(site: Site) -> None:
    """A long job keeps the runner there to be asked, while another worker holds hundreds of quick items (unless it has
    just come to the end of a chunk: then once more).
    """
    total = 100_000
    for first in range(0, total, 1000):
        queues.record.push_many(range(first, first + 1000))
    for turn in range(8):
        runner = _drained_in_the_middle(site, total, turn)
        if any("given back unstarted" in line and " 0 given back" not in line for line in runner.log):
            break
    else:
        pytest.fail("no worker ever held anything that it had not begun")


def _drained_in_the_middle(site: Site, total: int, turn: int) -> Runner:
    queues.single.push({"n": f"long{turn}", "seconds": 3})
    runner, before = site.runner().serving(), len(site.lines())
    site.said(f"start long{turn} ")
    until(lambda: len(site.lines()) > before + 3000, "large chunks in the worker's hands")
    with get_store().admin() as admin:
        admin.ask("shutdown")  # type: ignore[attr-defined]
        begin, handled = time.monotonic(), len(site.lines())
        until(lambda: admin.counts()["record"].running == 0, "what was handed out to be back")
        seconds = time.monotonic() - begin
        counts = admin.counts()["record"]
        page = admin.page("record", State.WAITING, limit=1000)
    print(f"prefetched items are back after {seconds * 1000:.1f} ms")
    assert seconds < 1.0
    assert len(site.lines()) <= handled + 1, "more began than what had begun"
    assert f"end long{turn}" not in site.lines()
    assert counts.waiting == total - counts.done > 0
    assert [found.item.payload for found in page.items] == list(range(counts.done, counts.done + len(page.items)))
    assert {(found.item.attempt, found.item.crashes) for found in page.items} == {(0, 0)}
    assert runner.end() == 0
    assert list(numbers(site.lines(), "record")) == [str(n) for n in range(counts.done)]
    return runner
