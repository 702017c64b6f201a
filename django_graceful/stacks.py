"""Stacks of OS processes for the log: where is each thread just now? For a person who wonders what hangs.

:func:`own` tells of the calling process, by plain Python. Any other process of ours answers :data:`SIGNAL` by
``faulthandler``, which writes from the C signal handler: also when its main thread holds the interpreter's lock in a
C function for ever. It appends to a file that the asker reads; nothing of the asked process has to run.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO

#: Asks a process that called :func:`answer` for its stacks.
SIGNAL = signal.SIGRTMIN + 5

#: A dump that has not grown for that many seconds is complete.
_SETTLED = 0.05

_file: IO[bytes] | None = None


def own() -> str:
    """The stacks of all threads of this process but the caller's, the main thread first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = sorted(sys._current_frames().items(), key=lambda entry: entry[0] != main)
    parts = []
    for ident, frame in frames:
        if ident != threading.get_ident():
            parts.append(f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts).rstrip()


def answer(path: Path | int) -> None:
    """From now on this process answers :data:`SIGNAL` by appending its stacks to that file (or descriptor)."""
    global _file
    before = _file
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    _file = open(path if isinstance(path, int) else os.open(path, flags), "ab", buffering=0)  # noqa: SIM115
    faulthandler.register(SIGNAL, file=_file, all_threads=True, chain=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGNAL])
    if before is not None:
        before.close()


async def ask(path: Path | str, send: Callable[[], object], patience: float = 1.0) -> str:
    """The stacks of a process that answers into ``path`` when ``send`` has sent it :data:`SIGNAL`.

    What it wrote within ``patience`` seconds: nothing, when it is stopped or in a system call that nothing interrupts.
    Raises ``OSError`` when the file is gone.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        begin = size = os.fstat(fd).st_size
        send()
        end = time.monotonic() + patience
        while time.monotonic() < end:
            await asyncio.sleep(_SETTLED)
            before, size = size, os.fstat(fd).st_size
            if begin < size == before:
                break
        return os.pread(fd, size - begin, begin).decode(errors="replace").strip()
    finally:
        os.close(fd)
