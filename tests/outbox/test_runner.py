"""A real runner hands over what killed producers left, and keeps its sweeper alive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import F

from django_graceful.models import OutboxItem
from django_graceful.outbox.batches import Batch
from tests.harness import Site, until
from tests.outbox.world import World, atomic
from tests.site.queues import record

pytestmark = pytest.mark.process


@pytest.fixture
def world(site: Site, django_db_blocker: Any) -> Iterator[World]:
    """The site's database in a file, migrated by the command."""
    found = World(site.out.parent, record)
    site.env["GRACEFUL_TEST_DB"] = str(found.folder / "default.sqlite3")
    with django_db_blocker.unblock():
        found.database("default", table=False)
        migrated = site.manage("migrate", "django_graceful")
        assert migrated.returncode == 0, migrated.stderr
        yield found
        found.close()


def leave(world: World, deed: str, monkeypatch: pytest.MonkeyPatch, *, age: float) -> None:
    """What a producer leaves that is killed right after its commit."""
    with monkeypatch.context() as patch, atomic():
        patch.setattr(Batch, "hand_over", lambda self: None)
        world.do(deed)
    OutboxItem.objects.update(created=F("created") - age)


def test_a_runner_that_drains_takes_what_is_left_in_the_outbox(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(world, "a", monkeypatch, age=60)
    runner = site.runner("--drain")
    assert runner.end() == 0
    assert site.lines() == ["record a"]
    assert world.left() == 0


def test_a_sweeper_that_was_killed_is_followed_by_another_and_ends_with_the_runner(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = site.runner().serving()
    # master, fork server, and, as nothing is queued yet, the sweeper
    first = until(lambda: runner.family()[2:], "the sweeper")[0]
    leave(world, "first", monkeypatch, age=60)
    site.said("record first")
    first.kill()
    runner.says("the sweeper of the outboxes ended with -9")
    leave(world, "second", monkeypatch, age=60)
    site.said("record second")
    family = runner.family()
    assert runner.stop() == 0
    assert not [process for process in family if process.is_running()]
    assert site.lines() == ["record first", "record second"]
    assert not [line for line in runner.log if "Traceback" in line]
