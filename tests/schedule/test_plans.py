"""A schedule together with its queue: what its items look like, and which schedules a runner takes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from django_graceful import queue
from django_graceful.conf import get_conf
from django_graceful.items import State
from django_graceful.schedule.plans import plan_of
from django_graceful.schedule.running import plans_for
from django_graceful.schedule.spec import make
from tests.stores.kit import START, Kit


def test_items_have_what_their_queue_says(kit: Kit) -> None:
    work = queue("q", priority=7, unique="finished", rerun=False)(lambda payload: None)
    plan = plan_of(make("job", "q", every=60, payload={"b": 1, "a": 2}), work, get_conf())
    kit.owner.push("q", [plan.record(b"i" * 16, START)])
    found = kit.owner.get((b"i" * 16).hex())
    assert found is not None
    assert (found.state, found.item.priority, found.item.key) == (State.WAITING, 7, '{"a":2,"b":1}')
    assert found.item.meta == {"schedule": "job"}


def test_a_runner_ticks_for_the_queues_that_it_serves_and_says_what_can_not_run(
    caplog: pytest.LogCaptureFixture, settings: Any, tmp_path: Path
) -> None:
    settings.GRACEFUL = {
        "STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "s"}},
        "MAX_PAYLOAD": 10,
        "SCHEDULES": {
            "fits": {"QUEUE": "q", "EVERY": 5},
            "elsewhere": {"QUEUE": "other", "EVERY": 5},
            "nowhere": {"QUEUE": "unknown", "EVERY": 5},
            "long": {"QUEUE": "q", "EVERY": 5, "PAYLOAD": "x" * 20},
        },
    }
    queue("q")(lambda payload: None)
    queue("other")(lambda payload: None)
    found = plans_for(get_conf(), lambda name: name == "q")
    assert [plan.schedule.name for plan in found["default"]] == ["fits"]
    assert found.keys() == {"default"}
    assert "schedule nowhere does not run" in caplog.text
    assert "schedule long does not run" in caplog.text
