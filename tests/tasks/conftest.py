"""Stores of each kind, a worker, and what the framework's signals said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_graceful.compat import task_enqueued, task_finished, task_started
from django_graceful.stores import close_stores
from tests.redis.kit import add_cache, cache_setting, server
from tests.tasks import jobs
from tests.tasks.bench import Bench

BACKEND = "django_graceful.tasks.GracefulBackend"


def tasks_setting(*queues: str, **options: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": BACKEND, "QUEUES": list(queues), "OPTIONS": options}}


def stores(kind: str, path: Path) -> dict[str, Any]:
    if kind == "redis":
        add_cache("tasks-test", cache_setting(server().url, path.name))
        return {"default": {"BACKEND": "redis", "ALIAS": "tasks-test", "RUNTIME": path / "runtime"}}
    return {"default": {"BACKEND": kind, **({"PATH": path / "store"} if kind == "leveldb" else {})}}


@pytest.fixture(params=["memory"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, settings: Any) -> Iterator[Bench]:
    """A worker on a fresh store, of the kind that the test names."""
    settings.GRACEFUL = {"STORES": stores(request.param, tmp_path)}
    settings.TASKS = tasks_setting()
    jobs.calls.clear()
    yield Bench()
    close_stores()


@pytest.fixture
def heard() -> Iterator[list[tuple[str, Any, str]]]:
    """Signal, sender and status, as they came."""
    found: list[tuple[str, Any, str]] = []
    signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
    receivers = []
    for name, signal in signals.items():

        def receive(sender: Any, task_result: Any, name: str = name, **kwargs: Any) -> None:
            found.append((name, sender, str(task_result.status)))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield found
    for signal, receive in receivers:
        signal.disconnect(receive)
