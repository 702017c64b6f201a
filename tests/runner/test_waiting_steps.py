"""``runqueues --wait`` looks again and again, and says once whom it waits for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from django_graceful.conf import StoreConf
from django_graceful.exceptions import StoreLocked
from django_graceful.runner import waiting


def test_each_holder_of_a_store_is_waited_for_and_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    locked = [
        StoreLocked("owned by 7", pid=7),
        StoreLocked("owned by 7", pid=7),
        None,
        StoreLocked("by 8", pid=8),
        None,
    ]
    paused: list[int | None] = []
    monkeypatch.setattr(waiting, "_locked", lambda conf: locked.pop(0))
    monkeypatch.setattr(waiting, "_pause", paused.append)
    with caplog.at_level(logging.INFO, "django_graceful.runner"):
        waiting.wait_for_stores([StoreConf("one", "leveldb", Path("/1")), StoreConf("two", "leveldb", Path("/2"))])
    assert caplog.messages == ["owned by 7; waiting until it lets go", "by 8; waiting until it lets go"]
    assert paused == [7, 7, 8]
    assert locked == []


def test_stores_without_an_owner_are_not_looked_at(tmp_path: Path) -> None:
    assert waiting._locked(StoreConf("default", "redis")) is None
    assert waiting._locked(StoreConf("default", "leveldb", tmp_path / "none")) is None
    assert list(tmp_path.iterdir()) == []
