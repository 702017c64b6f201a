"""A runner as it shows itself, and a small reader of Prometheus' text."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from django_graceful import queue, queues
from django_graceful.items import Outcome
from django_graceful.runner.figures import Figures

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures() -> Figures:
    """Three runs of queue ``mail``: two of 0.02 s that were done, one of 2 s that died with its worker."""
    found = Figures()
    found.outcomes.update({Outcome.DONE: 2, Outcome.CRASHED: 1})
    found.crashes = 1
    found.ran.observe(0.02, 2)
    found.ran.observe(2.0)
    found.waited.observe(40.0)
    return found


def runner(node: str = "0a1b2c3d", pid: int = 4711, **more: Any) -> dict[str, Any]:
    """What a runner publishes of itself."""
    return {
        "node": node,
        "kind": "runner",
        "host": "one",
        "pid": pid,
        "phase": "running",
        "since": 1_790_000_000.0,
        "version": "1",
        "hammer_in": None,
        "workers": {"busy": 1, "idle": 2, "starting": 0},
        "memory": {"master": 1000, "workers": 5000},
        "figures": {"default": {"mail": figures().shown()}},
        "processes": [],
        "left_out": 0,
    } | more


def read(text: str) -> Samples:
    """The samples of a text; it must be sound, and have no sample twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = one.name, frozenset(one.labels.items())
            assert key not in found, key
            found[key] = one.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """The one sample of that name and those labels, among others; None when there is none."""
    wanted = frozenset(labels.items())
    values = [number for (found, more), number in samples.items() if found == f"graceful_{name}" and wanted <= more]
    assert len(values) <= 1, values
    return values[0] if values else None


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The code declares two queues: ``mail`` and ``thumbnails``."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(queues, "_registry", found)
    queue("mail")(lambda payload: None)
    queue("thumbnails")(lambda payload: None)
    return found
