"""The sweeper: what it hands over, what it leaves alone, what it lets the stores forget, how it lives."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from django_graceful import signals
from django_graceful.exceptions import StoreUnavailable
from django_graceful.models import OutboxItem
from django_graceful.outbox import AGE, KEEP, SKEW, rows, sweeper, sweeping
from django_graceful.outbox.batches import Batch
from django_graceful.outbox.sweeping import Round, age_to_forget, databases, forget, look
from django_graceful.stores import get_store
from tests.outbox.test_pushing import Reserved
from tests.outbox.world import World, atomic


@pytest.fixture
def unhanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Producers that never come to the hand-over."""
    monkeypatch.setattr(Batch, "hand_over", lambda self: None)


def write(world: World, *deeds: str, using: str = "default") -> None:
    with atomic(using):
        for deed in deeds:
            world.do(deed, using)


@pytest.mark.usefixtures("unhanded")
def test_young_rows_are_left_to_their_producer(world: World) -> None:
    write(world, "old")
    OutboxItem.objects.update(created=time.time() - AGE - 1)
    write(world, "young")
    assert look(["default"]).handed == 1
    assert world.run() == {"old": 1}
    assert world.left() == 1


@pytest.mark.usefixtures("unhanded")
def test_more_rows_than_one_query_reads_all_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "STRETCH", 4)
    write(world, *(str(n) for n in range(11)))
    assert world.sweep().handed == 11
    assert sum(world.run().values()) == len(world.handled) == 11
    assert world.left() == 0


@pytest.mark.usefixtures("unhanded")
def test_rows_of_a_store_that_is_away_do_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "STRETCH", 2)
    write(world, "a", "b", "c")
    OutboxItem.objects.order_by("pk").filter(pk=OutboxItem.objects.order_by("pk")[0].pk).update(store="nowhere")
    found = world.sweep()
    assert (found.handed, found.errors) == (2, {})
    assert found.left.keys() == {"nowhere"}
    assert world.run() == {"b": 1, "c": 1}


@pytest.mark.usefixtures("unhanded")
def test_a_database_that_fails_does_not_hold_up_the_others_and_nothing_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.database("bare", table=False)
    write(world, "a")
    found = world.sweep("bare", "default")
    assert "no such table" in found.errors["bare"]
    assert found.handed == 1
    monkeypatch.setattr(type(get_store()), "admin", None)
    forget(found)
    with pytest.raises(TypeError):
        forget(Round())


@pytest.mark.usefixtures("unhanded")
def test_receivers_hear_of_what_the_sweeper_hands_over(world: World) -> None:
    heard: list[Any] = []

    def receive(sender: Any, item_ids: list[str], **arguments: Any) -> None:
        heard.append((sender, len(item_ids)))

    write(world, "a", "b")
    signals.pushed.connect(receive)
    try:
        world.sweep()
    finally:
        signals.pushed.disconnect(receive)
    assert heard == [(world.queue, 2)]


def test_stores_forget_only_what_is_older_than_any_row_that_is_left() -> None:
    assert age_to_forget(None, 10_000.0) == KEEP + SKEW
    assert age_to_forget(9_990.0, 10_000.0) == KEEP + SKEW
    assert age_to_forget(1_000.0, 10_000.0) == 9_000 + SKEW


def test_every_durable_store_is_told_what_to_forget(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    class Desk:
        def __enter__(self) -> Desk:
            return self

        def __exit__(self, *error: object) -> None: ...

        def forget_handovers(self, age: float) -> int:
            asked.append(age)
            return 5000 if len(asked) < 3 else 0

    monkeypatch.setattr(type(get_store()), "admin", lambda self: Desk())
    forget(Round())
    assert asked == [KEEP + SKEW] * 3


def test_a_store_without_a_runner_forgets_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Any) -> Any:
        raise StoreUnavailable("no runner")

    monkeypatch.setattr(type(get_store()), "admin", away)
    forget(Round())


def test_databases_without_an_engine_or_a_part_in_it_are_not_swept(world: World) -> None:
    world.database("other")
    assert databases() == ["default", "other"]
    with override_settings(DATABASE_ROUTERS=[Reserved()]):
        assert databases() == ["default"]
    connections.databases["other"]["ENGINE"] = "django.db.backends.dummy"
    assert databases() == ["default"]


def life(monkeypatch: pytest.MonkeyPatch, rounds: int) -> list[bytes]:
    """The words of a sweeper whose master is gone after so many rounds."""
    monkeypatch.setattr(sweeper, "EVERY", 0.0)
    ours, theirs = socket.socketpair()
    said: list[bytes] = []
    real = sweeper._ended

    def ended(sock: socket.socket) -> bool:
        said.append(ours.recv(100))
        if len(said) == rounds:
            ours.close()
        return real(sock)

    monkeypatch.setattr(sweeper, "_ended", ended)
    with theirs:
        assert sweeper.sweep(theirs) == 0
    ours.close()
    return said


@pytest.mark.usefixtures("unhanded")
def test_a_sweeper_says_whether_it_found_something_and_ends_with_its_master(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "look", lambda aliases: world.sweep(*aliases))
    write(world, "a")
    assert life(monkeypatch, 3) == [sweeper.BUSY, sweeper.IDLE, sweeper.IDLE]
    assert world.run() == {"a": 1}


def test_without_a_table_a_sweeper_ends_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with connections["default"].schema_editor() as editor:
        editor.delete_model(OutboxItem)
    assert life(monkeypatch, 1) == []


def test_a_fault_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sweeper, "look", lambda aliases: Round(errors={"default": "gone"}))
    life(monkeypatch, 3)
    assert [record.getMessage() for record in caplog.records if record.name == "django_graceful.outbox"] == [
        "outbox: the database default can not be swept: gone"
    ]


def test_an_idle_round_is_one_query_for_each_database(world: World, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        sweeping.look(["default"])
