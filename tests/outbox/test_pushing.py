"""What is pushed in a transaction is queued when it commits, once, and not at all when it does not (promise P12)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.transaction import TransactionManagementError
from django.db.utils import ConnectionDoesNotExist
from django.test import override_settings

from django_graceful import queue, queues, signals
from django_graceful.conf import get_conf
from django_graceful.exceptions import OutboxUnavailable, PayloadError, QueueFull, StoreUnavailable
from django_graceful.models import OutboxItem
from django_graceful.outbox import FRESH, batches, delivery, read_on_commit, rows
from django_graceful.stores import get_store
from tests.outbox.world import World, atomic, undone


def test_a_commit_queues_the_item_and_leaves_no_row(world: World) -> None:
    with atomic():
        item_id = world.do("a")
        assert world.left() == 1
        assert world.run() == {}
    assert world.left() == 0
    found = world.owner.get(item_id)
    assert found is not None
    assert found.item.payload == "a"
    assert world.run() == {"a": 1}


def test_a_rollback_leaves_nothing(world: World) -> None:
    with undone():
        world.do("a")
    assert world.left() == 0
    assert world.run() == {}


def test_of_nested_savepoints_only_what_committed_is_queued(world: World) -> None:
    with atomic():
        with undone():
            world.do("lost")
            with atomic():
                world.do("lost with it")
        with atomic():
            world.do("kept")
        with undone():
            world.do("lost at the end")
    assert world.run() == world.deeds() == {"kept": 1}
    assert world.left() == 0


def test_a_transaction_after_one_that_was_rolled_back_queues_its_own_only(world: World) -> None:
    with undone():
        world.do("lost")
    with atomic():
        world.do("kept")
    assert world.run() == world.deeds() == {"kept": 1}


def test_outside_of_a_transaction_it_is_just_a_push(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "insert", None)
    world.queue.push("a", outbox=True)
    assert world.run() == {"a": 1}


def test_many_in_one_transaction_are_handed_over_in_one_push_in_their_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushes: list[int] = []
    kind = type(get_store())
    real = kind.hand_over

    def counted(self: Any, name: str, records: Any, limit: int = 0) -> None:
        pushes.append(len(records))
        real(self, name, records, limit)

    monkeypatch.setattr(kind, "hand_over", counted)
    with atomic():
        ids = world.queue.push_many(range(300), outbox=True)
        ids += [world.queue.push(n, outbox=True) for n in range(300, 330)]
    assert pushes == [330]
    assert len(set(ids)) == 330
    assert list(world.run().items()) == [(n, 1) for n in range(330)]
    assert world.left() == 0


def test_thousands_in_one_transaction(world: World) -> None:
    with atomic():
        world.queue.push_many(range(2500), outbox=True)
    assert world.run() == dict.fromkeys(range(2500), 1)
    assert world.left() == 0


def test_large_items_are_handed_over_in_several_pushes(world: World) -> None:
    with atomic():
        world.queue.push_many([f"{n}{'x' * 900_000}" for n in range(12)], outbox=True)
    assert sum(world.run().values()) == 12


def test_the_queue_or_its_settings_may_ask_for_it(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = rows.insert
    monkeypatch.setattr(rows, "insert", lambda using, some: (written.append(using), real(using, some)))
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"out": {"OUTBOX": True}}}
    with atomic():
        world.queue.push("a")
        world.queue.push("b", on_commit=True)
        world.queue.push("at once", outbox=False)
        assert world.run() == {"at once": 1}
    assert written == ["default", "default"]
    assert world.run() == {"a": 1, "b": 1, "at once": 1}


def test_each_database_has_its_own(world: World) -> None:
    world.database("other")
    with undone("other"):
        with atomic():
            world.do("mine")
        world.do("theirs", "other")
        assert (world.left(), world.left("other")) == (0, 1)
    assert world.run() == world.deeds("default", "other") == {"mine": 1}
    with atomic("other"):
        world.queue.push("by on_commit", outbox=True, on_commit="other")
        assert world.left("other") == 1
    assert world.run() == {"mine": 1, "by on_commit": 1}


def test_the_database_of_the_queue_is_meant_when_a_push_names_none(world: World, settings: Any) -> None:
    world.database("other")
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"out": {"OUTBOX": "other"}}}
    with atomic("other"):
        world.queue.push("a", outbox=True)
        world.queue.push("b")
        assert world.left("other") == 2
    assert world.run() == {"a": 1, "b": 1}


def test_arguments_that_make_no_sense_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="name two databases"):
        world.queue.push("a", outbox="default", on_commit="other")
    with pytest.raises(ValueError, match="outbox must be True, False or the alias of a database, not 5"):
        world.queue.push("a", outbox=5)  # type: ignore[arg-type]
    with pytest.raises(ConnectionDoesNotExist):
        world.queue.push("a", outbox="nowhere")
    with atomic(), pytest.raises(PayloadError):
        world.queue.push(object(), outbox=True)
    assert world.left() == 0


def test_a_missing_table_is_said_at_the_push(world: World) -> None:
    world.database("bare", table=False)
    with (
        pytest.raises(OutboxUnavailable, match=r"'bare' has no table .* migrate django_graceful --database=bare"),
        atomic("bare"),
    ):
        world.do("a", "bare")
    assert world.deeds("bare") == {}


class Reserved:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == "other" and app_label == "django_graceful" else None


def test_a_database_that_does_not_take_part_is_said_at_the_push(world: World) -> None:
    world.database("other")
    with override_settings(DATABASE_ROUTERS=[Reserved()]):
        with pytest.raises(OutboxUnavailable, match="'other' has no outbox: DATABASE_ROUTERS"), atomic("other"):
            world.do("a", "other")
        with atomic():
            world.do("b")
    assert world.run() == {"b": 1}


def test_manual_transactions_are_refused_as_django_does(world: World) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError):
            world.queue.push("a", outbox=True)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert world.left() == 0


def test_more_than_the_queue_ever_holds_is_refused(world: World, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "LENGTH": 3}
    with pytest.raises(QueueFull, match="4 in one push never fit"), atomic():
        world.queue.push_many(range(4), outbox=True)


def test_what_finds_no_room_stays_a_row_until_there_is_some(world: World, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "LENGTH": 4}
    for n in range(3):
        with atomic():
            world.queue.push_many([f"{n}a", f"{n}b"], outbox=True)
    assert world.left() == 2
    assert world.sweep().left.keys() == {"default"}
    assert len(world.run()) == 4
    assert world.sweep().handed == 2
    assert sum(world.run().values()) == len(world.handled) == 6


def test_part_of_a_push_goes_as_far_as_there_is_room(world: World, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "LENGTH": 10}
    with atomic():
        for n in range(13):
            world.queue.push(n, outbox=True)
    assert 0 < world.left() < 13
    for _ in range(5):
        world.run()
        world.sweep()
    assert world.run() == dict.fromkeys(range(13), 1)
    assert world.left() == 0


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), QueueFull("no room")])
def test_a_store_that_is_away_at_the_commit_raises_nothing_and_gets_it_later(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(type(get_store()), "hand_over", fail)
        with atomic():
            world.do("a")
    assert [record.levelno for record in caplog.records if record.name == "django_graceful.outbox"] == [logging.WARNING]
    monkeypatch.setattr(delivery, "_resting", {})
    assert (world.left(), world.run()) == (1, {})
    assert world.sweep().handed == 1
    assert world.run() == {"a": 1}


def test_a_database_that_fails_at_the_deletion_raises_nothing_and_queues_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise DatabaseError("database is locked")

    called: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(rows, "delete", fail)
        with atomic():
            world.do("a")
            transaction.on_commit(lambda: called.append("the next"))
    assert called == ["the next"]
    assert world.left() == 1
    assert world.run() == {"a": 1}
    world.sweep()
    assert (world.left(), world.run()) == (0, {"a": 1})


def test_a_callback_of_the_site_that_fails_first_does_not_lose_it(world: World) -> None:
    def transact() -> None:
        with atomic():
            transaction.on_commit(lambda: 1 / 0)
            world.do("a")

    with pytest.raises(ZeroDivisionError):
        transact()
    assert (world.left(), world.run()) == (1, {})
    world.sweep()
    assert world.run() == world.deeds() == {"a": 1}


def test_who_comes_late_to_the_hand_over_looks_again_what_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Any] = []

    def sweeper_was_faster() -> None:
        world.sweep()
        real = batches.clock
        monkeypatch.setattr(batches, "clock", lambda: real() + FRESH + 1)
        monkeypatch.setattr(batches, "deliver", lambda rows, until: pushed.append(rows) or [])

    with atomic():
        transaction.on_commit(sweeper_was_faster)
        world.do("a")
    assert pushed == [[]]
    assert world.run() == {"a": 1}


def test_nothing_is_pushed_that_was_looked_at_too_long_ago(world: World) -> None:
    row = rows.Row(b"x" * 16, "default", "out", b"", 0.0)
    assert delivery.deliver([row], delivery.clock() - 1) == []


def test_receivers_of_pushed_hear_of_it_when_it_is_in_the_store(world: World) -> None:
    heard: list[str] = []

    def receive(item_ids: list[str], **arguments: Any) -> None:
        heard.extend(item_ids)

    signals.pushed.connect(receive)
    try:
        with atomic():
            pushed = [world.do("a"), world.do("b")]
            assert heard == []
        assert heard == pushed
    finally:
        signals.pushed.disconnect(receive)


def test_an_immediate_queue_runs_at_the_commit(world: World, settings: Any) -> None:
    ran: list[Any] = []
    world.queue.handler = ran.append
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"out": {"IMMEDIATE": True}}}
    with atomic():
        world.queue.push("a", outbox=True)
        assert (ran, world.left()) == ([], 0)
    assert ran == ["a"]


def test_to_a_store_in_memory_it_waits_for_the_commit(world: World, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"out": {"STORE": "memory"}}}
    with atomic():
        world.queue.push("a", outbox=True)
        assert world.left() == 0
        with get_store("memory").admin() as desk:
            assert "out" not in desk.counts()
    with get_store("memory").admin() as desk:
        assert desk.counts()["out"].waiting == 1


def test_to_a_store_in_memory_that_spills_it_goes_straight_to_the_durable_one(world: World, settings: Any) -> None:
    stores = {**settings.GRACEFUL["STORES"], "memory": {"BACKEND": "memory", "SPILL_TO": "default"}}
    settings.GRACEFUL = {"STORES": stores, "QUEUES": {"out": {"STORE": "memory"}}}
    assert get_conf().queues["out"]["store"] == "memory"
    with atomic():
        world.queue.push("a", outbox=True)
        assert OutboxItem.objects.get().store == "default"
    assert world.run() == {"a": 1}


def test_unique_items_merge_at_the_hand_over(world: World) -> None:
    unique = queue("out", unique="queued", key=lambda payload: "k")(world.queue.handler)
    world.queue = unique
    with atomic():
        world.do("a")
        world.do("b")
    assert world.left() == 0
    assert world.run() == {"a": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, (True, False)),
        (False, (False, False)),
        ("other", ("other", False)),
        ("outbox", (False, True)),
        ("outbox:other", (False, "other")),
        ("outboxes", ("outboxes", False)),
    ],
)
def test_a_setting_may_name_the_outbox(value: bool | str, expected: tuple[bool | str, bool | str]) -> None:
    assert read_on_commit(value) == expected


def test_another_connection_of_the_same_name_has_a_batch_of_its_own(world: World) -> None:
    one = batches.current("default")
    saved = connections["default"]
    connections["default"] = connections.create_connection("default")
    other: Callable[[], object] = lambda: batches.current("default")  # noqa: E731
    assert other() is not one
    connections["default"] = saved
    assert other() is one


@pytest.mark.django_db
def test_inside_of_a_test_case_the_captured_callbacks_hand_over(
    store_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    """A site's own tests never commit; they ask Django for the callbacks."""
    captured = queue("captured", outbox=True)(lambda payload: None)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            captured.push("a")
            captured.push("b")
            assert OutboxItem.objects.count() == 2
    finally:
        del queues._registry["captured"]
    assert OutboxItem.objects.count() == 0
    with get_store().admin(alone=True) as desk:
        assert desk.counts()["captured"].waiting == 2
