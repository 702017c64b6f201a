"""Slates: what they say survives, and nobody is believed who still lives."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from django_graceful.exceptions import StoreFull
from django_graceful.runner.slate import Slate, SlateDirectory, Word
from django_graceful.stores.base import Progress


def test_a_slate_outlives_its_writer(tmp_path: Path) -> None:
    slates = SlateDirectory(tmp_path / "slates")
    slate = slates.create("w1")
    slate.words[Word.STARTED], slate.words[Word.FINISHED] = (7 << 40) + 3, (7 << 40) + 2
    slate.close()
    assert slates.witness("w1") == Progress((7 << 40) + 3, (7 << 40) + 2)


@pytest.mark.parametrize("owner", ["unknown", "../owner.lock", "a/b", ""])
def test_an_unknown_worker_has_no_witness(tmp_path: Path, owner: str) -> None:
    (tmp_path / "owner.lock").write_text("x")
    assert SlateDirectory(tmp_path / "slates").witness(owner) is None


def test_a_damaged_slate_has_no_witness(tmp_path: Path) -> None:
    slates = SlateDirectory(tmp_path)
    (tmp_path / "short").write_bytes(b"")
    assert slates.witness("short") is None


def test_a_slate_that_finds_no_room_is_an_error_in_words_and_no_trap_for_later(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StoreFull, match="slate"):
            SlateDirectory(tmp_path).create("w1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_two_workers_never_have_one_slate(tmp_path: Path) -> None:
    slates = SlateDirectory(tmp_path)
    slates.create("w1").close()
    with pytest.raises(FileExistsError):
        slates.create("w1")


@pytest.mark.process
def test_the_witness_waits_for_a_worker_that_is_dying_and_ends_one_that_is_not(tmp_path: Path) -> None:
    slates = SlateDirectory(tmp_path)
    slates.create("w1").close()
    ready_r, ready_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        slate = Slate(tmp_path / "w1")
        slate.lock()
        slate.words[Word.STARTED] = 5
        os.write(ready_w, b"x")
        while True:
            signal.pause()
    os.read(ready_r, 1)
    os.close(ready_r)
    os.close(ready_w)
    begin = time.monotonic()
    assert slates.witness("w1") == Progress(5, 0)
    assert 0.9 < time.monotonic() - begin < 8
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_clear_and_forget_remove_files(tmp_path: Path) -> None:
    slates = SlateDirectory(tmp_path)
    for name in ("a", "b"):
        slates.create(name).close()
    slates.forget("a")
    slates.forget("a")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    slates.clear()
    assert list(tmp_path.iterdir()) == []
