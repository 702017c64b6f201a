"""A worker as the master sees it: when it counts as gone, it is."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest

from django_graceful.runner.handle import Handle, Stage
from django_graceful.runner.nursery import Nursery
from django_graceful.runner.slate import SlateDirectory, Word

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:.*fork")]


class Orders:
    """In place of a nursery: notes nothing, starts nothing."""

    def spawn(self, *arguments: Any) -> None:
        pass


def test_who_outlives_the_fork_server_by_a_moment_begins_nothing_that_is_given_to_another(tmp_path: Path) -> None:
    """The end of the fork server's socket is heard before the kernel kills the workers."""

    async def scene() -> None:
        handle = Handle("w", SlateDirectory(tmp_path), cast(Nursery, Orders()), lambda handle: None)
        words = handle._slate.words
        pid = os.fork()
        if not pid:
            while True:  # goes on and on with what it was given
                words[Word.STARTED] += 1
        handle.spawned(pid, os.pidfd_open(pid))
        handle.exited(-signal.SIGKILL)
        assert handle.stage is Stage.GONE
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        else:
            pytest.fail("it lived on")
        words.release()
        handle.close()

    asyncio.run(scene())
