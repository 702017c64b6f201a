"""What workers hold and have not begun is back in the store as soon as the node drains (promise P4)."""

from __future__ import annotations

import time

import pytest

from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Site, numbers, until
from tests.site import queues

pytestmark = pytest.mark.process


def test_prefetched_items_are_back_in_order_uncharged_at_once_when_a_drain_begins(site: Site) -> None:
    """A long job keeps the runner there to be asked, while another worker holds hundreds of quick items."""
    total = 30_000
    queues.single.push({"n": "long", "seconds": 3})
    for first in range(0, total, 1000):
        queues.record.push_many(range(first, first + 1000))
    runner = site.runner().serving()
    until(lambda: len(site.lines()) > 3000, "large chunks in the worker's hands")
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
    assert "end long" not in site.lines()
    assert counts.waiting == total - counts.done > 0
    assert [found.item.payload for found in page.items] == list(range(counts.done, counts.done + len(page.items)))
    assert {(found.item.attempt, found.item.crashes) for found in page.items} == {(0, 0)}
    assert runner.end() == 0
    assert any("given back unstarted" in line and " 0 given back" not in line for line in runner.log)
    assert list(numbers(site.lines(), "record")) == [str(n) for n in range(counts.done)]
