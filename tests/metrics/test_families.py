"""From what was seen to metrics: the right numbers under the right names, and nothing where nobody knew."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest

from django_graceful.metrics.families import families
from django_graceful.metrics.gathering import Seen
from django_graceful.stores.base import Counts
from tests.metrics.conftest import Samples, read, runner, value


def shown(stores: Sequence[Seen]) -> Samples:
    class Collector:
        def collect(self) -> object:
            return families(stores)

    registry = CollectorRegistry()
    registry.register(Collector())  # type: ignore[arg-type]
    return read(generate_latest(registry).decode())


MAIL = Counts(
    waiting=3, scheduled=1, retrying=2, running=4, dead=5, cancelled=6, oldest_age=7.5, pushed=100, duplicates=8
)


def test_a_queue_is_told_by_states_with_its_oldest_item_and_totals() -> None:
    found = shown([Seen("default", counts={"mail": MAIL, "idle": Counts(paused=True)})])
    states = {"waiting": 3, "scheduled": 1, "retrying": 2, "running": 4, "dead": 5, "cancelled": 6}
    for state, number in states.items():
        assert value(found, "items", store="default", queue="mail", state=state) == number
        assert value(found, "items", store="default", queue="idle", state=state) == 0
    assert value(found, "oldest_age_seconds", queue="mail") == 7.5
    assert value(found, "oldest_age_seconds", queue="idle") == 0
    assert value(found, "pushed_total", queue="mail") == 100
    assert value(found, "duplicates_total", queue="mail") == 8
    assert (value(found, "paused", queue="mail"), value(found, "paused", queue="idle")) == (0, 1)
    assert value(found, "up", store="default") == 1


def test_runs_are_told_by_runner_with_cumulative_buckets() -> None:
    found = shown([Seen("default", nodes=[runner()])])
    who = {"store": "default", "queue": "mail", "host": "one", "pid": "4711"}
    assert value(found, "outcomes_total", outcome="done", **who) == 2
    assert value(found, "outcomes_total", outcome="crashed", **who) == 1
    assert value(found, "outcomes_total", outcome="cancelled", **who) == 0
    assert value(found, "crashes_total", **who) == 1
    buckets = {"0.01": 0, "0.025": 2, "1.0": 2, "2.5": 3, "3600.0": 3, "+Inf": 3}
    assert {le: value(found, "run_seconds_bucket", le=le, **who) for le in buckets} == buckets
    assert value(found, "run_seconds_count", **who) == 3
    assert value(found, "run_seconds_sum", **who) == 2.04
    assert value(found, "wait_seconds_sum", **who) == 40
    assert value(found, "workers", host="one", pid="4711", state="idle") == 2
    assert value(found, "resident_bytes", host="one", pid="4711", role="workers") == 5000
    assert value(found, "runner_start_time_seconds", host="one", pid="4711") == 1_790_000_000
    assert value(found, "runner_phase", host="one", pid="4711", phase="running") == 1


def test_a_runner_of_two_stores_is_one_runner_and_each_store_has_its_own_runs() -> None:
    both = runner(figures={"default": {"mail": runner()["figures"]["default"]["mail"]}, "other": {}})
    found = shown([Seen("default", nodes=[both, runner("ffffffff", pid=5)]), Seen("other", nodes=[both])])
    assert value(found, "nodes", store="default", kind="runner") == 2
    assert value(found, "nodes", store="other", kind="runner") == 1
    assert value(found, "outcomes_total", store="default", pid="4711", outcome="done") == 2
    assert value(found, "outcomes_total", store="default", pid="5", outcome="done") == 2
    assert value(found, "outcomes_total", store="other", outcome="done") is None
    assert value(found, "workers", pid="4711", state="busy") == 1


def test_who_is_silent_is_counted_and_nothing_is_made_up_for_it() -> None:
    silent = {"node": "", "kind": "runner", "pid": 4711, "silent": True}
    web = {"node": "01", "kind": "web", "processes": []}
    found = shown([Seen("default", nodes=[silent, web], waiting={"mail": 9}, backlog=120)])
    assert value(found, "up", store="default") == 0
    assert value(found, "silent_nodes", store="default") == 1
    assert value(found, "nodes", store="default", kind="runner") == 0
    assert value(found, "nodes", store="default", kind="web") == 1
    assert value(found, "items", store="default", queue="mail") == 9, "only what waits is known"
    assert value(found, "backlog_bytes", store="default") == 120
    assert value(found, "workers", pid="4711") is None
    assert value(found, "oldest_age_seconds") is None


def test_nothing_known_of_a_store_is_only_that_it_is_not_up() -> None:
    assert list(shown([Seen("default")]).values()) == [0.0]


def test_a_runner_of_another_release_is_no_fault() -> None:
    mail = runner()["figures"]["default"]["mail"]
    older, newer = runner(), runner("ffffffff", pid=5)
    del older["figures"], older["memory"]
    newer["figures"] = {"default": {"mail": mail | {"ran": {"counts": [1, 2], "seconds": 3}, "waited": None}}}
    found = shown([Seen("default", nodes=[older, newer])])
    assert value(found, "run_seconds_count", pid="5") is None
    assert value(found, "outcomes_total", pid="5", outcome="done") == 2
    assert value(found, "workers", pid="4711", state="busy") == 1


def test_names_that_need_escaping_come_through() -> None:
    found = shown([Seen("default", counts={'a "quoted\\" näme': Counts(waiting=1)})])
    assert value(found, "items", queue='a "quoted\\" näme', state="waiting") == 1
