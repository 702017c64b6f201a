"""A job may be interrupted while its process is being made visible: nothing is closed under the thread that hears."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest

from django_graceful import Cancelled, native
from django_graceful.stores.leveldb import hearing
from tests.harness import until


def test_an_interrupt_as_the_thread_starts_leaves_no_thread_and_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads: list[native.Thread] = []

    def interrupted(body: Any) -> native.Thread:
        threads.append(native.Thread(body))
        raise Cancelled("cancel")

    monkeypatch.setattr(hearing, "Thread", interrupted)
    before = set(os.listdir("/proc/self/fd"))
    with caplog.at_level(logging.ERROR), pytest.raises(Cancelled):
        hearing.Hearing()
    assert threads[0].join(10)
    until(lambda: set(os.listdir("/proc/self/fd")) <= before, "the bell to be closed", 5)
    assert caplog.records == []


def test_a_thread_that_can_not_start_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(body: Any) -> native.Thread:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(hearing, "Thread", refused)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError):
        hearing.Hearing()
    assert set(os.listdir("/proc/self/fd")) <= before
