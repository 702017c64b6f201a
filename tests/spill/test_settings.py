from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from django_graceful import spill
from django_graceful.conf import Fault, StoreConf, read
from django_graceful.lifecycle import Phase, node
from django_graceful.spill import fitness, stock
from django_graceful.spill.store import SpillStore
from django_graceful.stores import get_store
from tests.spill.conftest import Fast

DISK = {"BACKEND": "leveldb", "PATH": "/var/graceful"}


def stores(**fast: Any) -> tuple[dict[str, StoreConf], list[Fault]]:
    conf, faults = read({"STORES": {"default": DISK, "fast": {"BACKEND": "memory"} | fast}})
    return conf.stores, faults


def fault(**fast: Any) -> Fault:
    found, faults = stores(**fast)
    assert set(found) == {"default"}
    [one] = faults
    return one


def test_a_memory_store_may_spill_to_another_store() -> None:
    found, faults = stores(SPILL_TO="default", THREADS=5)
    assert faults == []
    assert (found["fast"].spill_to, found["fast"].threads, found["fast"].home) == ("default", 5, "default")
    assert stores(SPILL_TO="default")[0]["fast"].threads == 2


def test_without_that_it_stays_what_it_was() -> None:
    found, faults = stores()
    assert faults == []
    assert (found["fast"].spill_to, found["fast"].home) == ("", "fast")


def test_the_order_of_the_stores_does_not_matter() -> None:
    conf, faults = read({"STORES": {"fast": {"BACKEND": "memory", "SPILL_TO": "default"}, "default": DISK}})
    assert faults == []
    assert set(conf.stores) == {"fast", "default"}


def test_the_other_store_must_be_there() -> None:
    found = fault(SPILL_TO="defualt")
    assert found.where == "GRACEFUL['STORES']['fast']['SPILL_TO']"
    assert found.what == "no store is named 'defualt' (did you mean 'default'?)"


@pytest.mark.parametrize("other", ["fast", "third"])
def test_the_other_store_must_be_durable(other: str) -> None:
    entries = {"fast": {"BACKEND": "memory", "SPILL_TO": other}, "third": {"BACKEND": "memory"}}
    conf, [found] = read({"STORES": entries})
    assert found.what == f"the store {other!r} is in memory too, and keeps nothing"
    assert "fast" not in conf.stores


@pytest.mark.parametrize("name", [None, "", 5, ["default"]])
def test_its_name_is_a_name(name: Any) -> None:
    assert fault(SPILL_TO=name).what == f"must be the name of a store, not {name!r}"


@pytest.mark.parametrize("threads", [0, 101, "2", 1.5, True, None])
def test_threads_is_a_number(threads: Any) -> None:
    found = fault(SPILL_TO="default", THREADS=threads)
    assert (found.where, found.what) == (
        "GRACEFUL['STORES']['fast']['THREADS']",
        f"must be a whole number from 1 to 100, not {threads!r}",
    )


def test_threads_mean_nothing_without_another_store() -> None:
    assert fault(THREADS=2).what == "has no meaning without SPILL_TO"


def test_other_keys_are_named() -> None:
    assert "unknown key 'SPILL' (did you mean 'SPILL_TO'?)" in stores(SPILL="default")[1][0].what
    _, faults = read({"STORES": {"default": DISK | {"SPILL_TO": "default"}}})
    assert "unknown key 'SPILL_TO'" in faults[0].what


def test_no_check_warns_of_a_queue_in_such_a_store(fast: Fast) -> None:
    fast.queue()
    assert [message for message in run_checks(tags=["django_graceful"]) if "'q'" in message.msg] == []


def test_it_is_a_store_of_its_own(fast: Fast) -> None:
    assert isinstance(get_store("fast"), SpillStore)
    assert not isinstance(get_store("default"), SpillStore)


def kept(fast: Fast) -> bool:
    """Whether a push is kept in memory."""
    fast.queue(fast.waits).push("x")
    if stock.stocks():
        return True
    assert fast.payloads() == ["x"]
    return False


def test_a_usual_process_keeps_items_in_memory(fast: Fast) -> None:
    assert kept(fast)


def test_a_process_that_refuses_does_not(fast: Fast) -> None:
    fitness.refuse()
    assert not kept(fast)


def test_a_node_that_is_asked_to_stop_does_not(fast: Fast) -> None:
    node.reach(Phase.DRAINING, "test")
    assert not kept(fast)


def test_a_process_that_has_drained_before_its_first_push_does_not(fast: Fast) -> None:
    spill.drain()
    assert not kept(fast)


def test_while_the_site_is_loaded_nothing_is_kept(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness.apps, "ready", False)
    assert not kept(fast)


def test_a_child_of_multiprocessing_keeps_nothing(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness.multiprocessing, "parent_process", object)
    assert not kept(fast)


@pytest.mark.parametrize(("guard", "keeps"), [(None, False), ("none yet", False), ("there", True)])
def test_in_a_gunicorn_only_a_worker_with_our_hooks_does(
    fast: Fast, monkeypatch: pytest.MonkeyPatch, guard: str | None, keeps: bool
) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn.app.base", types.ModuleType("gunicorn.app.base"))
    name = "django_graceful.gunicorn.guard"
    monkeypatch.delitem(sys.modules, name, raising=False)
    if guard is not None:
        module: Any = types.ModuleType(name)
        module.current = lambda: guard if guard == "there" else None
        monkeypatch.setitem(sys.modules, name, module)
    assert kept(fast) is keeps


def test_other_settings_do_not_lose_what_the_old_store_has(fast: Fast, tmp_path: Path) -> None:
    fast.queue(fast.waits).push_many(range(5))
    fast.begun(2)
    other = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "store"}}}
    with override_settings(GRACEFUL=other):
        pass
    spill.conclude()
    assert sorted(fast.payloads()) == [0, 1, 2, 3, 4]
