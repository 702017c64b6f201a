"""What the inbox's tests share: records, an owner that remembers, and processes that push."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from django_graceful.items import HEADER
from django_graceful.stores.leveldb.intake import Intake

_PADDING = bytes(HEADER.size)


def record(text: object) -> bytes:
    """A record as long as a real one's header at least, which is what room is estimated by."""
    return _PADDING + str(text).encode()


def text_of(found: bytes) -> str:
    return found[len(_PADDING) :].decode()


class Owner:
    """An owner whose database is two attributes: what it took in, and the offsets that it stored with it."""

    def __init__(self, store: Path, **options: Any) -> None:
        self.store, self.options = store, options
        self.taken: list[tuple[str, bytes]] = []
        self.offsets: dict[bytes, int] = {}
        self.damage: list[str] = []
        self.open()

    def open(self) -> None:
        """Begin, or begin again after a crash: only what was stored is known."""
        self.intake = Intake(self.store, **self.options)
        self.intake.open(self.offsets)

    def store_batch(self, limit: int = 2000) -> bool:
        """Read and store, without moving on. True: there is more."""
        found = self.intake.read(limit)
        self.taken += found.entries
        self.offsets.update(found.positions)
        self.damage += found.damage
        return found.more

    def advance(self) -> None:
        for gone in self.intake.advance():
            self.offsets.pop(gone, None)

    def take(self, limit: int = 2000) -> list[str]:
        """All that is there; the texts of what came in just now."""
        before = len(self.taken)
        more = True
        while more:
            more = self.store_batch(limit)
            self.advance()
        return [text_of(found) for _, found in self.taken[before:]]

    def crash(self) -> None:
        self.intake.close()
        self.open()

    @property
    def texts(self) -> list[str]:
        return [text_of(found) for _, found in self.taken]


def segment_names(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "inbox").glob("*.log"))


def python(code: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    """Another Python process that runs ``code`` with ``args`` as ``sys.argv[1:]``; its output is text."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, **options)


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Ask until it is so; fails after ``seconds``."""
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline, "it did not happen in time"
