"""What a runner may leave behind, counted: descriptors, threads, children, memory, files."""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from tests.cancel.box import PREFIX

#: Files that come in numbers; which ones is LevelDB's business, and the inbox's.
_NUMBERS = re.compile(r"\d+")


def shared_memory() -> set[str]:
    """What of this user's lies in ``/dev/shm``, but for what other tests put there."""
    found = set()
    for path in Path("/dev/shm").iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_uid == os.getuid() and not path.name.startswith(PREFIX):
                found.add(path.name)
    return found


def files(store: Path) -> Counter[str]:
    """How many files of each kind there are below the store."""
    return Counter(_NUMBERS.sub("N", str(path.relative_to(store))) for path in store.rglob("*") if not path.is_dir())


def belongings(process: psutil.Process) -> dict[str, int]:
    """Descriptors, threads and children of one process."""
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(process.children(recursive=True)),
    }


def memory(process: psutil.Process) -> int:
    """What only this process has of memory, in bytes."""
    return int(process.memory_full_info().uss)
