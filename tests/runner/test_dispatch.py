"""Who gets what: pure decisions."""

from __future__ import annotations

from django_graceful.runner.dispatch import CHUNK_MOST, CHUNK_SECONDS, Lane, choose, workers_wanted


def lane(name: str, **values: object) -> Lane:
    return Lane(name, **{"limit": 2, **values})  # type: ignore[arg-type]


def test_the_queue_that_was_served_longest_ago_comes_first() -> None:
    lanes = [lane("a", served=5), lane("b", served=3), lane("c", served=4)]
    found = choose(lanes, {"a": 1, "b": 1, "c": 1}, None)
    assert found is not None
    assert found.name == "b"


def test_a_queue_with_nothing_ready_or_at_its_limit_is_not_chosen() -> None:
    assert choose([lane("a"), lane("b", workers=2)], {"b": 9}, None) is None


def test_a_worker_with_items_in_hand_gets_more_of_the_same_at_the_limit() -> None:
    found = choose([lane("a", workers=2)], {"a": 9}, "a")
    assert found is not None


def test_a_worker_runs_dry_when_it_is_another_queues_turn() -> None:
    lanes = [lane("a", workers=1, served=9), lane("b", served=1)]
    assert choose(lanes, {"a": 9, "b": 9}, "a") is None


def test_the_first_chunk_is_one_item_and_growth_is_gradual() -> None:
    quick = lane("a")
    assert quick.size() == 1
    quick.learn(1, 0.000_001)
    assert [quick.size() for _ in range(4)] == [2, 4, 8, 16]
    for _ in range(20):
        quick.size()
    assert quick.size() == CHUNK_MOST


def test_a_slow_item_makes_chunks_small_at_once() -> None:
    found = lane("a", chunk=256)
    found.learn(1000, 0.01)
    found.learn(1, CHUNK_SECONDS * 3)
    assert found.size() == 1


def test_a_batch_queue_gets_batches_whatever_they_cost() -> None:
    found = lane("a", batch_length=20)
    found.learn(1, 10.0)
    assert found.size() == 20


def test_workers_wanted_counts_free_places_and_what_one_worker_can_take() -> None:
    lanes = [lane("a", limit=4, workers=1), lane("b", limit=4, chunk=100), lane("c", workers=2), lane("d")]
    assert workers_wanted(lanes, {"a": 9, "b": 150, "c": 7}) == 3 + 2 + 0
