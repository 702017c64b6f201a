"""Check finds what is wrong, repair mends it, and no item is ever lost by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_graceful.items import State
from django_graceful.stores.engine import counters, keys
from tests.stores.kit import EngineKit, Kit


@pytest.fixture
def engine(kit: Kit) -> EngineKit:
    """A store with an item in every state."""
    assert isinstance(kit, EngineKit)
    kit.fill()
    kit.owner.request_cancel(kit.owner.page("q", State.RUNNING).items[0].item.id)
    return kit


def everything(engine: EngineKit) -> list[object]:
    """The payloads of all items there are, in whichever state."""
    return sorted(str(found.item.payload_json) for state in State for found in engine.owner.page("q", state).items)


def index_of(engine: EngineKit, state: State) -> bytes:
    return keys.INDEX + bytes.fromhex(engine.owner.page("q", state).items[0].item.id)


def miscount(engine: EngineKit) -> None:
    engine.kv.write({keys.numbered(keys.COUNTERS, 1): counters.pack([7] * 12, "q")})


def lose_counters(engine: EngineKit) -> None:
    engine.kv.write({keys.numbered(keys.COUNTERS, 1): None})


def lose_index(engine: EngineKit) -> None:
    for state in State:
        engine.kv.write({index_of(engine, state): None})


def index_nothing(engine: EngineKit) -> None:
    engine.kv.write({keys.INDEX + b"x" * 16: keys.ready(1, 0, 999), keys.INDEX + b"y" * 16: b"garbage"})


def index_another(engine: EngineKit) -> None:
    (at,) = [engine.kv.get(index_of(engine, State.DEAD))]
    engine.kv.write({index_of(engine, State.WAITING): at})


def take_keys_for_nobody(engine: EngineKit) -> None:
    waiting = index_of(engine, State.WAITING)[1:]
    engine.kv.write({keys.unique(1, b"gone"): b"x" * 16, keys.unique(1, b"other"): waiting})


def lose_unique_keys(engine: EngineKit) -> None:
    engine.kv.write({keys.unique(1, b"k"): None, keys.unique(1, b"f"): None})


def lose_the_name(engine: EngineKit) -> None:
    engine.kv.write({keys.numbered(keys.NAME, 1): None})


def lease_nothing(engine: EngineKit) -> None:
    engine.kv.write({keys.lease(5): b"\x00\x01w" + keys.ready(1, 0, 999), keys.wish(99): b"{}"})


def go_back_in_sequence(engine: EngineKit) -> None:
    engine.kv.write({keys.SEQUENCE: keys.u64(1)})


def go_back_in_time(engine: EngineKit) -> None:
    engine.kv.write({keys.EPOCH: None})


def forget_expiries(engine: EngineKit) -> None:
    engine.kv.write({key: None for key, _ in list(engine.kv.scan(keys.EXPIRY, keys.beyond(keys.EXPIRY)))})


def bring_old_copies_back(engine: EngineKit) -> None:
    for state in (State.DEAD, State.SCHEDULED, State.WAITING):
        at = engine.kv.get(index_of(engine, state)) or b""
        copy = keys.timed(keys.CANCELLED, 1, 5, keys.sequence_of(at))
        engine.kv.write({copy: engine.kv.get(at)})


DAMAGES = [
    miscount,
    lose_counters,
    lose_index,
    index_nothing,
    index_another,
    take_keys_for_nobody,
    lease_nothing,
    go_back_in_sequence,
    go_back_in_time,
    forget_expiries,
]


def test_a_sound_store_has_no_problems(engine: EngineKit) -> None:
    assert engine.owner.check() == []
    before = everything(engine)
    assert engine.owner.repair() == []
    assert everything(engine) == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_mended_and_the_queue_goes_on(
    engine: EngineKit, damage: Callable[[EngineKit], None]
) -> None:
    before, counts = everything(engine), engine.owner.counts()["q"]
    damage(engine)
    found = engine.owner.check()
    assert found
    assert all(problem.repairable and problem.where and problem.what for problem in found)
    assert engine.owner.check() == found, "checking changes nothing"
    assert set(found) <= set(engine.owner.repair())
    assert engine.owner.check() == []
    assert everything(engine) == before
    after = engine.owner.counts()["q"]
    assert (after.waiting, after.running, after.dead) == (counts.waiting, counts.running, counts.dead)
    running = [at.detail["execution"] for at in engine.owner.page("q", State.RUNNING).items]
    assert engine.owner.release(running) == set()
    assert engine.owner.check() == []


def test_lost_unique_keys_are_taken_again(engine: EngineKit) -> None:
    lose_unique_keys(engine)
    engine.owner.repair()
    assert engine.owner.has("q", "k")
    assert engine.owner.has("q", "f")


def test_a_queue_that_lost_its_name_finds_it_with_its_numbers(engine: EngineKit) -> None:
    lose_the_name(engine)
    engine.reopen()
    assert engine.owner.counts() == {}
    assert engine.owner.repair()
    assert engine.owner.check() == []
    assert engine.owner.counts()["q"].waiting == 7
    assert len(engine.lease(50)) == 7


def test_a_queue_that_lost_name_and_numbers_gets_a_name_and_keeps_its_items(engine: EngineKit) -> None:
    engine.push("other", queue="queue-1")
    lose_the_name(engine)
    lose_counters(engine)
    engine.reopen()
    engine.owner.repair()
    assert engine.owner.check() == []
    assert engine.owner.counts()["queue-1-"].waiting == 7


def test_items_that_are_there_twice_go_on_under_ids_of_their_own(engine: EngineKit) -> None:
    before = everything(engine)
    bring_old_copies_back(engine)
    engine.owner.repair()
    assert engine.owner.check() == []
    assert len(everything(engine)) == len(before) + 3
    ids = [found.item.id for state in State for found in engine.owner.page("q", state).items]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("state", [State.WAITING, State.SCHEDULED, State.DEAD, State.CANCELLED])
def test_unreadable_items_are_set_aside_and_none_is_removed(engine: EngineKit, state: State) -> None:
    where = index_of(engine, state)
    at = engine.kv.get(where) or b""
    engine.kv.write({at: b"\x07" + b"garbage" * 20, where: None})
    total = sum(len(engine.owner.page("q", each).items) for each in State)
    assert engine.owner.check()
    engine.owner.repair()
    assert engine.owner.check() == []
    assert sum(len(engine.owner.page("q", each).items) for each in State) == total
    assert any(
        "format 7" in found.detail.get("reason", "") for each in State for found in engine.owner.page("q", each).items
    )


def test_an_empty_map_is_a_sound_store(kit: Kit) -> None:
    assert kit.owner.check() == []
    assert kit.owner.repair() == []


def test_after_a_repair_new_items_never_take_the_place_of_old_ones(engine: EngineKit) -> None:
    go_back_in_sequence(engine)
    before = everything(engine)
    engine.crash()
    engine.kv = engine.open_kv()
    from django_graceful.stores.engine import checkup

    checkup.repair(engine.kv, 0)
    engine.crash()
    engine.open()
    engine.push(*range(50))
    assert len(everything(engine)) == len(before) + 50
