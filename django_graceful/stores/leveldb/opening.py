"""Opening LevelDB so that it ends in a working store, whatever has happened to the files (promises P1 and P10).

Opened, every block is read once against its checksum (one or two seconds for a million items), so damage is found now
and not by a compaction at night. Damaged files are mended in two steps: the log is replayed without what does not agree
with its checksums; and if that is not enough, LevelDB repairs the tables. What they leave out is kept in ``db/lost``.
Then the engine's own repair brings index, keys and numbers back in step, and what the inbox still has is taken in once
more: better a run too many than an item too few. What can not be mended is moved to ``aside/``
under a dated name, loudly, and the store starts empty; the inbox is not touched and still taken in. Nothing is deleted.

LevelDB replays its log without saying so when it drops a damaged part, unless it is told to be paranoid: it is. A log
file that has vanished, or whose damage looks like the torn end of a crash, can not be told from one.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import deque
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from django_graceful.exceptions import StoreError, StoreLocked
from django_graceful.items import micros
from django_graceful.stores.engine import checkup, keys, version
from django_graceful.stores.leveldb import aside
from django_graceful.stores.leveldb.binding import binding
from django_graceful.stores.leveldb.files import make_directory
from django_graceful.stores.leveldb.kv import LevelKV, translate

logger = logging.getLogger("django_graceful.stores.leveldb.opening")

DIRECTORY: Final = "db"
_OPTIONS: Final = {"write_buffer_size": 16 << 20, "bloom_filter_bits": 10}
#: Mended details that are named one by one.
MAX_NOTICES: Final = 20
_LOCKED: Final = ("already held by process", "Resource temporarily unavailable")
#: What a whole database can say too. Everything else that it says is a reason to repair it.
_NOT_DAMAGE: Final = (
    "Permission denied",
    "Read-only file system",
    "Too many open files",
    "Cannot allocate memory",
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
)


class _Damaged(Exception):
    """The files can not be used as they are."""


def open_kv(store: Path, *, mode: int = 0o600) -> tuple[LevelKV, list[str]]:
    """The database of the store at ``store``, made when there is none, and what had to be mended, for people.

    The caller holds the store's lock. Raises :class:`~django_graceful.exceptions.StoreLocked` when another process has
    the database open all the same, :class:`~django_graceful.exceptions.StoreCorrupt` when a later release wrote it, and
    :class:`~django_graceful.exceptions.StoreUnavailable` when the files can not be read or written.
    """
    module = binding()
    path = make_directory(store, DIRECTORY, mode)
    notices: list[str] = []
    try:
        kv = _open(module, path)
    except _Damaged as damage:
        repaired = _mend(module, path, damage)
        if repaired is None:
            notices.append(_set_aside(store, mode, damage))
            kv = _open(module, make_directory(store, DIRECTORY, mode))
        else:
            notices.append(f"{path} was damaged and has been repaired: {damage}")
            kv = repaired
    return _checked(kv, notices), notices


def _open(module: Any, path: Path, *, paranoid: bool = True) -> LevelKV:
    """Open and read all of it. Raises :class:`_Damaged`, or what can not be mended here."""
    # In a directory with files LevelDB may not make a new database: it would delete those it does not know.
    fresh = not any(not name.startswith(("LOCK", "LOG")) for name in os.listdir(path))
    opened = partial(module.DB, str(path), paranoid_checks=paranoid, **_OPTIONS)
    try:
        db = opened(create_if_missing=fresh)
    except module.Error as error:
        raise _judge(error, module, path) from error
    try:
        deque(db.iterator(include_value=False, verify_checksums=True, fill_cache=False), maxlen=0)
    except module.Error as error:
        db.close()
        raise _judge(error, module, path) from error
    return LevelKV(db, module, str(path), partial(opened, create_if_missing=False))


def _judge(error: Exception, module: Any, path: Path) -> Exception:
    found = translate(error, module.CorruptionError, str(path))
    text = str(found)
    if any(sign in text for sign in _LOCKED):
        return StoreLocked(f"another process has the database {path} open: {text}")
    return found if any(sign in text for sign in _NOT_DAMAGE) else _Damaged(text)


def _mend(module: Any, path: Path, damage: Exception) -> LevelKV | None:
    """What can be made of it; None when that is nothing that opens."""
    logger.error("%s; repairing it", damage)
    _keep_logs(path)
    for step in (_replay, _repair):
        try:
            step(module, path)
            return _open(module, path)
        except (module.Error, _Damaged) as error:
            logger.error("%s: %s has not helped: %s", path, step.__name__.strip("_"), error)
    return None


def _keep_logs(path: Path) -> None:
    """A replayed log is deleted by LevelDB, with what was left out of it."""
    lost = path / "lost"
    lost.mkdir(mode=0o700, exist_ok=True)
    for log in path.glob("*.log"):
        shutil.copy2(log, lost)


def _replay(module: Any, path: Path) -> None:
    """Replay the log without what is damaged in it. LevelDB's own repair would not look at checksums there."""
    _open(module, path, paranoid=False).close()


def _repair(module: Any, path: Path) -> None:
    module.repair_db(str(path), paranoid_checks=True, **_OPTIONS)


def _set_aside(store: Path, mode: int, damage: Exception) -> str:
    """Keep the directory under a dated name; what to tell people."""
    directory = make_directory(store, aside.DIRECTORY, mode)
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    kept, number = directory / f"db-{stamp}", 1
    while kept.exists():
        number += 1
        kept = directory / f"db-{stamp}-{number}"
    os.rename(store / DIRECTORY, kept)
    notice = (
        f"{store / DIRECTORY} was damaged beyond repair and is kept in {kept}; the store starts empty, with what is in"
        f" the inbox. The damage: {damage}"
    )
    logger.critical("%s", notice)
    return notice


def _checked(kv: LevelKV, notices: list[str]) -> LevelKV:
    """The map, with everything in step again after a repair. Closed when it can not be used."""
    try:
        version.check(kv)
        if notices:
            mended = checkup.repair(kv, micros(time.time()))
            # What the repair left out may still be in the inbox; what is there twice is known by its id.
            kv.write({key: None for key, _ in kv.scan(keys.SEGMENT, keys.beyond(keys.SEGMENT))}, sync=True)
            notices += [f"{problem.where}: {problem.what}" for problem in mended[:MAX_NOTICES]]
            if len(mended) > MAX_NOTICES:
                notices.append(f"and {len(mended) - MAX_NOTICES} more")
    except StoreError:
        kv.close()
        raise
    return kv
