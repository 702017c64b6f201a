"""``manage.py graceful schedules`` and ``run-now``, with and without a runner."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful.queues import all_queues
from django_graceful.schedule import registry as schedules
from django_graceful.schedule.state import Ran, State, encode
from django_graceful.stores.base import Tick
from tests.commands.conftest import Console, Shop

HOUR = 3600


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch, registry: dict[str, Any]) -> None:
    monkeypatch.setattr(schedules, "_declared", {})
    schedules.every("1h", payload={"n": 1})(all_queues()["thumbnails"])
    schedules.add("lost", "nowhere", cron="0 3 * * *")


def by_name(graceful: Console) -> dict[str, dict[str, Any]]:
    return {row["schedule"]: row for row in graceful.json("schedules")["schedules"]}


def test_a_schedule_that_never_ran_has_a_next_tick_and_no_past(graceful: Console, shop: Shop) -> None:
    row = by_name(graceful)["thumbnails"]
    assert row.pop("next") == int(time.time()) // HOUR * HOUR + HOUR
    assert row == {
        "schedule": "thumbnails",
        "queue": "thumbnails",
        "store": "default",
        "rule": "every 1h",
        "missed": "skip",
        "overlap": False,
        "last": None,
        "item": None,
        "outcome": None,
        "seconds": None,
        "count": 0,
        "skipped": 0,
        "error": None,
    }


def test_one_that_can_not_run_says_why(graceful: Console, shop: Shop) -> None:
    row = by_name(graceful)["lost"]
    assert row["error"] == "queue 'nowhere', which no app's queues.py declares"
    assert row["next"] is None
    assert "lost does not run: it pushes to queue 'nowhere'" in graceful("schedules")
    with pytest.raises(CommandError, match="'lost' does not run"):
        graceful("run-now", "lost")


def test_run_now_pushes_and_the_list_tells_of_it(graceful: Console, shop: Shop) -> None:
    before = int(time.time())
    said = graceful.json("run-now", "thumbnails")
    assert said == {"schedule": "thumbnails", "queue": "thumbnails", "store": "default", "item": said["item"]}
    [item] = graceful.json("items", "thumbnails")["items"]
    assert item["id"] == said["item"]
    row = by_name(graceful)["thumbnails"]
    assert (row["item"], row["outcome"], row["count"], row["skipped"]) == (said["item"], "waiting", 1, 0)
    assert row["last"] >= before
    assert row["next"] > time.time()


def test_what_does_not_overlap_is_not_pushed_twice(graceful: Console, shop: Shop) -> None:
    item = graceful.json("run-now", "thumbnails")["item"]
    with pytest.raises(CommandError, match=f"item {item} of schedule 'thumbnails' has not ended"):
        graceful("run-now", "thumbnails")
    graceful("discard", "thumbnails", item)
    assert "pushed" in graceful("run-now", "thumbnails")
    assert by_name(graceful)["thumbnails"]["count"] == 2


def test_what_the_runner_has_noted_is_shown(graceful: Console, shop: Shop) -> None:
    with shop.store.admin(alone=True) as desk:
        state = State(7 * HOUR, "ab" * 16, 7 * HOUR, count=5, skipped=2)
        desk.tick(Tick("thumbnails", "thumbnails", "", encode(state)))
        if not shop.served:
            desk.note_run("thumbnails", "thumbnails", encode(Ran("ab" * 16, 7.5 * HOUR, "done", 12.4)))  # type: ignore[attr-defined]
    row = by_name(graceful)["thumbnails"]
    assert (row["last"], row["count"], row["skipped"], row["next"]) == (7 * HOUR, 5, 2, 8 * HOUR)
    assert (row["outcome"], row["seconds"]) == ((None, None) if shop.served else ("done", 12.4))
    lines = graceful("schedules").splitlines()
    assert lines[0].split() == ["SCHEDULE", "QUEUE", "RULE", "NEXT", "LAST", "OUTCOME", "TOOK", "COUNT"]
    assert lines[2].split()[:3] == ["thumbnails", "thumbnails", "every"]


def test_an_unknown_schedule_is_an_error_with_the_nearest_name(graceful: Console, shop: Shop) -> None:
    with pytest.raises(CommandError, match=r"no schedule is named 'thumbnail' \(did you mean 'thumbnails'\?\)"):
        graceful("run-now", "thumbnail")
