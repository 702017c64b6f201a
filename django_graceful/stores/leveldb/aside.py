"""``PATH/aside``: where damaged bytes are kept, under dated names, for a person to look at. Used by the owner only."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from django_graceful.stores.leveldb.files import make_directory, settle

DIRECTORY: Final = "aside"
#: Files that one process keeps, and the bytes of each: damage must not fill the disk.
MAX_FILES: Final = 100
MAX_BYTES: Final = 16 << 20


class Aside:
    """Keeps what can not be read. Never raises: that damage could not be kept must not stop what follows it."""

    def __init__(self, store: Path, mode: int) -> None:
        self._store, self._mode = store, mode
        self._kept = 0

    @property
    def full(self) -> bool:
        """No more files are kept by this process."""
        return self._kept >= MAX_FILES

    def keep(self, data: bytes, label: str) -> str:
        """Keep the first 16 MiB of ``data`` in ``label-<date>-<n>.bin``; the end of a sentence that says where."""
        self._kept += 1
        try:
            path = self._create(label)
            path.write_bytes(data[:MAX_BYTES])
        except OSError as error:
            return f"could not be kept: {error}"
        return f"kept in {path}"

    def _create(self, label: str) -> Path:
        directory = make_directory(self._store, DIRECTORY, self._mode)
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        n = 1
        while True:
            path = directory / f"{label}-{stamp}-{n}.bin"
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                n += 1
                continue
            settle(path, self._mode, self._store)
            return path
