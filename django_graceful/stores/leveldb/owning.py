"""Opening a LevelDB store as its owner: the lock first, then everything that only its holder may touch.

What is opened is closed in the opposite order, also when the opening fails half way, and the lock is let go last.
"""

from __future__ import annotations

from contextlib import ExitStack

from django_graceful.conf import StoreConf
from django_graceful.stores.base import Witness
from django_graceful.stores.engine.owner import Engine
from django_graceful.stores.leveldb import board, segments
from django_graceful.stores.leveldb.board import Board
from django_graceful.stores.leveldb.files import explain, make_directory
from django_graceful.stores.leveldb.intake import Intake
from django_graceful.stores.leveldb.opening import open_kv
from django_graceful.stores.leveldb.ownership import OwnerLock
from django_graceful.stores.leveldb.wake import WakeReceiver


class LevelDBOwner(Engine):
    """The engine over LevelDB. ``belongings`` are closed after it."""

    belongings: ExitStack | None = None

    def close(self, *, sync: bool = True) -> None:
        belongings, self.belongings = self.belongings, None
        if belongings is not None:
            with belongings:
                super().close(sync=sync)


def open_owner(conf: StoreConf, witness: Witness | None, max_crashes: int, role: str) -> LevelDBOwner:
    """Own the store of ``conf``, as :meth:`~django_graceful.stores.leveldb.store.LevelDBStore.own` says.

    Raises :class:`~django_graceful.exceptions.StoreError` and its kin; nothing stays open or locked then.
    """
    try:
        return _open(conf, witness, max_crashes, role)
    except OSError as error:
        raise explain(error, conf.path, "open the store") from error


def _open(conf: StoreConf, witness: Witness | None, max_crashes: int, role: str) -> LevelDBOwner:
    make_directory(conf.path, segments.DIRECTORY, conf.mode, fsync=conf.fsync)
    with ExitStack() as stack:
        lock = OwnerLock(conf.path, conf.mode)
        lock.acquire(role)
        stack.callback(lock.release)
        shown = Board.create(conf.path / board.NAME, conf.mode)
        stack.callback(shown.close)
        intake = Intake(conf.path, conf.mode, conf.fsync, board=shown)
        stack.callback(intake.close)
        wake = WakeReceiver(conf.path, conf.mode) if role == "runner" else None
        if wake is not None:
            stack.callback(wake.close)
        kv, notices = open_kv(conf.path, mode=conf.mode)
        stack.callback(kv.close)
        owner = LevelDBOwner(
            kv,
            sync=conf.fsync,
            intake=intake,
            board=shown,
            wake=wake,
            witness=witness,
            max_crashes=max_crashes,
            take_in=role != "runner",
        )
        owner.notices[:0] = notices
        owner.belongings = stack.pop_all()
        return owner
