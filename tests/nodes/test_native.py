"""Native threads: they take no signal, are waited for, and are native also where gevent rules."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest

from django_graceful import native


def test_every_signal_is_blocked_in_it_from_the_beginning_and_none_more_in_us() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    masks: list[set[Any]] = []
    thread = native.Thread(lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    assert thread.join(10)
    unblockable = {signal.SIGKILL, signal.SIGSTOP}
    assert signal.valid_signals() - masks[0] == unblockable
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_signal_still_interrupts_the_main_thread() -> None:
    """It is sent to the process; a thread that does not block it could take it, and the sleep would go on."""

    class Rung(Exception):
        pass

    def ring(*_: Any) -> None:
        raise Rung

    over = threading.Event()
    thread = native.Thread(lambda: over.wait(10))
    old = signal.signal(signal.SIGUSR1, ring)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    begin = time.monotonic()
    try:
        with pytest.raises(Rung):  # noqa: PT012
            timer.start()
            time.sleep(10)
    finally:
        signal.signal(signal.SIGUSR1, old)
        over.set()
    assert time.monotonic() - begin < 5
    assert thread.join(10)


def test_join_gives_up_in_time_and_may_be_repeated() -> None:
    over = threading.Event()
    thread = native.Thread(lambda: over.wait(10))
    assert not thread.join(0.01)
    over.set()
    assert thread.join(10)
    assert thread.join(0)


def test_what_it_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert native.Thread(lambda: 1 // 0).join(10)
    assert "ZeroDivisionError" in caplog.text


def test_originals_come_from_gevent_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.original("time", "sleep") is time.sleep
    monkey = ModuleType("gevent.monkey")
    monkey.get_original = lambda module, name: (module, name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    assert native.original("time", "sleep") == ("time", "sleep")
