"""The redis store as any process holds it (promises P1, P3 and P10): it pushes, looks, gives orders, and leases.

Making one opens nothing; connections are made on the first call, by each process for itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from django_graceful.conf import StoreConf, get_conf
from django_graceful.stores.base import Store, StoreAdmin, Witness
from django_graceful.stores.exchange import Exchange
from django_graceful.stores.redis.desk import RedisDesk
from django_graceful.stores.redis.exchange import RedisExchange
from django_graceful.stores.redis.line import Line
from django_graceful.stores.redis.owner import TIMEOUT, RedisOwner
from django_graceful.stores.redis.pushing import push
from django_graceful.stores.redis.spool import Spool


class RedisStore(Store):
    """One entry of ``STORES`` with ``BACKEND: "redis"``. Safe for threads and forks. ``clock`` is for tests."""

    def __init__(self, conf: StoreConf, clock: Callable[[], float] | None = None) -> None:
        self.alias = conf.alias
        self.conf = conf
        self._clock = clock
        self.line = Line(conf.cache, get_conf().push_timeout, clock)
        self._exchange = RedisExchange(self.line)
        self._spool = None if conf.spool is None else Spool(conf.spool)

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        if self._spool is None:
            return push(self.line, queue, records, limit)
        return self._spool.push(queue, records, limit, partial(push, self.line))

    def hand_over(self, queue: str, records: Sequence[bytes], limit: int = 0) -> None:
        """As :meth:`Store.hand_over`: never by way of the spool, whose copy could come when the server has forgotten
        that another one came before.
        """
        push(self.line, queue, records, limit)

    def backlog(self) -> int:
        """How many bytes of pushes wait on this host for the server to come back. Asks nobody."""
        return 0 if self._spool is None else self._spool.backlog()

    @contextmanager
    def admin(self, *, alone: bool = False) -> Iterator[StoreAdmin]:
        """The desk; it needs no runner, because it asks the server."""
        yield RedisDesk(self.line)

    def own(self, witness: Witness | None = None, *, max_crashes: int = 3, seat: str | None = None) -> RedisOwner:
        """As :meth:`Store.own`, and many processes may do so at a time.

        ``seat`` is a name that no other living process has, also on other hosts: what a former owner of that seat had
        leased is brought back at once. Without one, the seat is new, and what others had comes back when their leases
        run out.
        """
        name = seat or secrets.token_hex(8)
        owner = RedisOwner(self.line, name, {name: witness}, max_crashes)
        owner.begin()
        return owner

    def own_later(self, seat: str, former: Mapping[str, Witness | None], max_crashes: int) -> RedisOwner:
        """An owner for a runner's loop, which opens nothing before its first step: the server may be away.

        ``former``: the seats of runners that are dead, with a witness of what their workers did.
        """
        line = Line(self.conf.cache, TIMEOUT, self._clock, TIMEOUT)
        return RedisOwner(line, seat, former, max_crashes, self._spool)

    def exchange(self) -> Exchange:
        return self._exchange

    def close(self) -> None:
        self.line.close()
        self._exchange.close()
        if self._spool is not None:
            self._spool.close()
