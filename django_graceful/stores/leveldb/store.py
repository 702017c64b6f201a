"""The LevelDB store as any process holds it (promises P1, P3 and P10): it pushes, and finds or becomes the owner.

Making one opens nothing. Pushing goes to the inbox and needs no owner; questions go to the owner's control socket; a
command-line tool that finds no runner becomes the owner for a moment. LevelDB itself is loaded only by an owner.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from django_graceful.conf import StoreConf, get_conf
from django_graceful.exceptions import StoreLocked
from django_graceful.items import id_of
from django_graceful.stores.base import Store, StoreAdmin, StoreOwner, Witness
from django_graceful.stores.exchange import Exchange
from django_graceful.stores.leveldb import board, segments
from django_graceful.stores.leveldb.control import ControlClient, NoRunner
from django_graceful.stores.leveldb.inbox import Inbox
from django_graceful.stores.leveldb.nodes import LevelDBExchange
from django_graceful.stores.leveldb.waiting import Waiting

#: Seconds that a tool goes on trying while a runner starts (it has the store, but no control socket yet) or stops.
PATIENCE: Final = 10.0
_PAUSE: Final = 0.05


class LevelDBStore(Store):
    """One entry of ``STORES`` with ``BACKEND: "leveldb"``. Safe for threads and forks."""

    def __init__(self, conf: StoreConf) -> None:
        self.alias = conf.alias
        self.conf = conf
        #: Asks the runner, if there is one.
        self.client = ControlClient(conf.path)
        self._exchange = LevelDBExchange(conf)
        self._inbox = Inbox(conf.path, conf.mode, fsync=conf.fsync)
        self._waiting = Waiting(conf.path)

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        self._inbox.append(queue, records, limit)
        return [id_of(record) for record in records]

    @contextmanager
    def admin(self, *, alone: bool = False) -> Iterator[StoreAdmin]:
        if not alone:
            self.client.ping()
        owner = self._open_alone() if alone else None
        try:
            yield owner or self.client
        finally:
            if owner is not None:
                owner.close()

    def own(self, witness: Witness | None = None, *, max_crashes: int = 3, role: str = "runner") -> StoreOwner:
        """As :meth:`Store.own`. ``role`` is ``runner``, or ``tool`` for a short visit that a runner may wait for."""
        from django_graceful.stores.leveldb.owning import open_owner

        return open_owner(self.conf, witness, max_crashes, role)

    def exchange(self) -> Exchange:
        return self._exchange

    def backlog(self) -> int:
        """How many bytes of the inbox no owner has taken in yet. Asks nobody."""
        reader = board.BoardReader(self.conf.path / board.NAME)
        position = reader.position
        reader.close()
        inbox = self.conf.path / segments.DIRECTORY
        waiting = 0
        with suppress(FileNotFoundError):
            for number in segments.numbers(inbox):
                if number >= position.segment:
                    taken = position.offset if number == position.segment else 0
                    waiting += segments.segment_path(inbox, number).stat().st_size - taken
        return max(0, waiting)

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        """How many items of each of these queues wait, in the store or in the inbox. Asks nobody; raises ``OSError``
        and :class:`~django_graceful.exceptions.StoreUnavailable`.
        """
        return self._waiting.look(queues)

    def close(self) -> None:
        self._inbox.close()

    def _open_alone(self) -> StoreOwner | None:
        """The store, opened by this tool; None when a runner answers after all, which may start or stop meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(NoRunner):
                self.client.ping()
                return None
            try:
                return self.own_as_tool()
            except StoreLocked:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE)

    def own_as_tool(self) -> StoreOwner:
        """The store as a command-line tool opens it, everything taken in. Raises as :meth:`own`."""
        # What a killed runner's workers had finished must not run again because a tool came first.
        from django_graceful.runner.slate import SlateDirectory

        slates = SlateDirectory(self.conf.path / "slates")
        owner = self.own(slates.witness, max_crashes=get_conf().max_crashes, role="tool")
        with ExitStack() as stack:
            stack.callback(owner.close)
            while owner.prepare():
                pass
            stack.pop_all()
        return owner
