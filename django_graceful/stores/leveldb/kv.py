"""LevelDB as the engine's map. The owner's thread uses it; errors of the library become those of this package.

Blocks are checked against their checksums whenever they are read from disk, so damage is an error and never bad data.
What is written after a torn record may be lost with it, so the first failure ends all writing until the database is
opened again. When the disk was full that happens here, with the next write: what did not fit was cut off and is
dropped at the opening, so nothing of the failed write is on disk. After any other failure nobody can say that, and
the store must be opened anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django_graceful.exceptions import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from django_graceful.stores.engine.kv import Changes

_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


class LevelKV:
    """An open database. ``module`` is the binding, ``path`` names the store in errors, ``reopen`` opens it again."""

    def __init__(self, db: Any, module: Any, path: str, reopen: Callable[[], Any]) -> None:
        self._db = db
        self._reopen = reopen
        #: A handle whose reopening has failed is closed, which the library says with a ``RuntimeError``.
        self._error = (module.Error, RuntimeError)
        self._corruption: type[Exception] = module.CorruptionError
        self._path = path
        self._failure: StoreError | None = None

    def get(self, key: bytes, /) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except self._error as error:
            raise self._translate(error) from error
        return value

    def write(self, changes: Changes, /, *, sync: bool = False) -> None:
        if self._failure is not None:
            self._recover(self._failure)
        try:
            with self._db.write_batch(transaction=True, sync=sync) as batch:
                put, delete = batch.put, batch.delete
                for key, value in changes.items():
                    if value is None:
                        delete(key)
                    else:
                        put(key, value)
        except self._error as error:
            self._failure = self._translate(error)
            raise self._failure from error

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        with self._db.iterator(start=start, stop=stop, verify_checksums=True, fill_cache=False) as found:
            try:
                yield from found
            except self._error as error:
                raise self._translate(error) from error

    def close(self) -> None:
        self._db.close()

    def _recover(self, failure: StoreError) -> None:
        """Open the database again after its disk was full. Raises while there is no room, and after other failures."""
        if not isinstance(failure, StoreFull):
            raise type(failure)(f"{failure}; nothing more is written until the store is opened again")
        self._db.close()
        try:
            self._db = self._reopen()
        except self._error as error:
            raise self._translate(error) from error
        self._failure = None

    def _translate(self, error: Exception) -> StoreError:
        return translate(error, self._corruption, self._path)


def translate(error: Exception, corruption: type[Exception], path: str) -> StoreError:
    """What the library says, as an error of ours: corrupt, full, or not available."""
    said = error.args[0] if error.args else b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    if isinstance(error, corruption):
        return StoreCorrupt(f"the store at {path} is damaged: {text}")
    if any(sign in text for sign in _FULL):
        return StoreFull(f"the store at {path} has no room on its disk: {text}")
    return StoreUnavailable(f"the store at {path} can not be used: {text}")
