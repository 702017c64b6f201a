"""The line to the server: calls of scripts, one by one or many in one round trip, and the names of the queues.

Any thread may use it. A script that the server does not know (any more: a restart, SCRIPT FLUSH, a failover) is sent
again with its source. Keys begin with ``graceful``, after the ``KEY_PREFIX`` of the alias if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from redis.exceptions import NoScriptError, RedisError

from django_graceful.exceptions import StoreCorrupt, StoreError
from django_graceful.items import micros
from django_graceful.stores.redis.calls import call, call_each
from django_graceful.stores.redis.connections import own_client, raw_client, where
from django_graceful.stores.redis.errors import explain, translated
from django_graceful.stores.redis.scripting import script

#: One call of a script: its name, the queue, and its arguments after the time.
Call = tuple[str, str, tuple[Any, ...]]

#: Seconds that an order of a person or a check may take.
PATIENCE: Final = 60.0
#: An execution has that many bits for the number of its queue.
MOST_QUEUES: Final = 2047
#: The format of keys and values that this release writes.
FORMAT: Final = 1


class Line:
    """Everything that is said to one server. Making one opens nothing.

    ``timeout`` (seconds) is for one call, connecting included; ``patience`` for an order of a person or a check.
    ``clock`` replaces the server's clock, for tests.
    """

    def __init__(
        self, alias: str, timeout: float, clock: Callable[[], float] | None = None, patience: float = PATIENCE
    ) -> None:
        self.alias = alias
        self._timeout = timeout
        self._patience = patience
        self._clock = clock
        cache = settings.CACHES.get(alias) or {}
        self.space = ":".join(filter(None, (str(cache.get("KEY_PREFIX") or ""), "graceful")))
        #: Where producers call runners.
        self.channel = f"{self.space}:wake"
        self._keys: dict[str, bytes] = {}
        self._registry = f"{self.space}:queues"

    @cached_property
    def client(self) -> Any:
        """For what must be quick: pushes, leases, endings."""
        return own_client(raw_client(self.alias), self._timeout / 2)

    @cached_property
    def patient(self) -> Any:
        """For orders of people, which may touch many items."""
        return own_client(raw_client(self.alias), self._patience)

    @cached_property
    def place(self) -> str:
        """Where the server is, in words, without passwords."""
        return where(self.client)

    @property
    def has_own_clock(self) -> bool:
        """Whether a test has set the time."""
        return self._clock is not None

    def key(self, queue: str) -> bytes:
        """How all keys of a queue begin; what stands in the braces decides their slot."""
        found = self._keys.get(queue)
        if found is None:
            found = self._keys[queue] = f"{{{self.space}:{queue}}}".encode(errors="replace")
        return found

    def queue_of(self, key: bytes) -> str:
        """Undo :meth:`key`."""
        return key[len(self.space) + 2 : -1].decode(errors="replace")

    def run(self, name: str, queue: str, *args: Any, client: Any = None) -> Any:
        """Call a script. Raises :class:`~django_graceful.exceptions.StoreError`."""
        found, key, now = script(name), self.key(queue), self._now()
        server = client or self.client
        try:
            try:
                return call(server, "EVALSHA", found.sha, 1, key, now, *args)
            except NoScriptError:
                return call(server, "EVAL", found.source, 1, key, now, *args)
        except RedisError as error:
            raise explain(self.place, error) from error

    def run_each(self, calls: Sequence[Call], client: Any = None) -> list[Any]:
        """Call many scripts in one round trip; their answers in order. Each is a step of its own."""
        if len(calls) < 2:
            return [self.run(name, queue, *args, client=client) for name, queue, args in calls]
        commands = [
            ("EVALSHA", script(name).sha, 1, self.key(queue), self._now(), *args) for name, queue, args in calls
        ]
        with translated(self.place):
            answers = call_each(client or self.client, commands)
        for at, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                name, queue, args = calls[at]
                answers[at] = self.run(name, queue, *args, client=client)
            elif isinstance(answer, RedisError):
                raise explain(self.place, answer) from answer
        return answers

    def each_queue(self, name: str, *args: Any) -> dict[str, Any]:
        """Call a script for every queue there is; the answers by the queue's name."""
        names = self.names()
        return dict(zip(names, self.run_each([(name, queue, args) for queue in names], self.patient), strict=True))

    def names(self) -> list[str]:
        """Every queue that was ever pushed to, in that order."""
        with translated(self.place):
            found = self.client.hgetall(self._registry)
        return [name.decode(errors="replace") for name in sorted(found, key=lambda name: int(found[name]))]

    def register(self, queue: str) -> int:
        """The number of a queue, which it gets at its first push."""
        with translated(self.place):
            number = self.client.eval(
                script("register").source, 1, self._registry, queue.encode(errors="replace"), MOST_QUEUES
            )
        if not number:
            raise StoreError(f"queue {queue!r} is one too many: a redis store has room for {MOST_QUEUES} names")
        return int(number)

    def wishes(self, queue: str) -> dict[bytes, bytes]:
        """The wishes for what runs of a queue."""
        with translated(self.place):
            found: dict[bytes, bytes] = self.client.hgetall(self.key(queue) + b":wishes")
        return found

    def check_format(self) -> None:
        """Raises :class:`~django_graceful.exceptions.StoreCorrupt` for a store that a later release wrote."""
        with translated(self.place):
            found = self.client.get(f"{self.space}:format")
            if found is None:
                self.client.setnx(f"{self.space}:format", FORMAT)
                found = self.client.get(f"{self.space}:format") or b""
        if found != str(FORMAT).encode():
            raise StoreCorrupt(
                f"{self.place} has a store of format {found.decode(errors='replace')}, this release of django_graceful "
                f"knows {FORMAT}: run the release that wrote it, or a later one; nothing was touched"
            )

    def now(self) -> int:
        """The server's time, in µs."""
        if self._clock is not None:
            return micros(self._clock())
        with translated(self.place):
            seconds, rest = self.client.time()
        return int(seconds) * 1_000_000 + int(rest)

    def close(self) -> None:
        """Close what is open and not in use. The next call opens it again."""
        for name in ("client", "patient"):
            client = self.__dict__.get(name)
            if client is not None:
                with suppress(OSError):
                    client.connection_pool.disconnect(inuse_connections=False)

    def _now(self) -> bytes:
        return b"" if self._clock is None else b"%d" % micros(self._clock())
