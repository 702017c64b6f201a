"""``manage.py graceful metrics``: what the URL tells, with a runner and without one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from django_graceful.stores.leveldb import store as store_module
from django_graceful.stores.leveldb.ownership import OwnerLock
from tests.commands.conftest import Console, Shop, graceful, registry, shop  # noqa: F401
from tests.metrics.conftest import read, value


def test_it_prints_the_text_of_everything(graceful: Console, shop: Shop) -> None:  # noqa: F811
    text = graceful("metrics")
    assert text.startswith("# HELP graceful_up ")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    found = read(text)
    assert value(found, "up", store="default") == 1
    waiting, running = (1, 1) if shop.served else (2, 0)
    assert value(found, "items", queue="mail", state="waiting") == waiting
    assert value(found, "items", queue="mail", state="running") == running
    assert value(found, "items", queue="mail", state="dead") == 1
    assert value(found, "items", queue="old", state="waiting") == 1
    assert graceful.said == ""


def test_programs_get_the_samples(graceful: Console, shop: Shop) -> None:  # noqa: F811
    samples = graceful.json("metrics")["metrics"]
    (dead,) = [one for one in samples if one["labels"] == {"store": "default", "queue": "mail", "state": "dead"}]
    assert (dead["metric"], dead["value"]) == ("graceful_items", 1)


def test_a_store_that_can_not_be_asked_is_not_up(
    graceful: Console,  # noqa: F811
    store_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0)
    store_path.mkdir()
    lock = OwnerLock(store_path)
    lock.acquire("runner")
    try:
        assert value(read(graceful("metrics")), "up", store="default") == 0
    finally:
        lock.release()


def test_without_the_extra_it_fails_and_says_what_to_install(
    graceful: Console,  # noqa: F811
    store_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("exposition", "families"):
        monkeypatch.delitem(sys.modules, f"django_graceful.metrics.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(CommandError, match=r"pip install 'django-graceful-queues\[metrics\]'"):
        graceful("metrics")
