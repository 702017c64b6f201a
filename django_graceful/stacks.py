"""Stacks of OS processes for the log: where is each thread just now? For a person who wonders what hangs.

:func:`own` tells of the calling process, by plain Python. Any other process of ours answers :data:`SIGNAL` by
``faulthandler``, which writes from the C signal handler: also when its main thread holds the interpreter's lock in a
C function for ever. It appends to a file that the asker reads; nothing of the asked process has to run.
"""

from __future__ import annotations

import asyncio
import ctypes
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

_SS_DISABLE = 2

_file: IO[bytes] | None = None


class _Stack(ctypes.Structure):
    """``stack_t`` of sigaltstack(2)."""

    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


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
    register(_file)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [SIGNAL])
    if before is not None:
        before.close()


def register(file: IO[bytes] | int) -> None:
    """Let ``faulthandler`` answer :data:`SIGNAL` into that file. To be called in the main thread.

    It gives that thread a stack of 16 KiB for signal handlers, on which Python runs all of them: five that arrive at
    once overflow it where a frame has the registers of AVX-512. So that stack is taken away again.
    """
    faulthandler.register(SIGNAL, file=file, all_threads=True, chain=False)
    ctypes.CDLL(None, use_errno=True).sigaltstack(ctypes.byref(_Stack(None, _SS_DISABLE, 0)), None)


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
