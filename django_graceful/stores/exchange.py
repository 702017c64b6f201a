"""How the nodes of one store see and order each other; the face of a store that needs no owner and no runner.

A node is one OS process: it *joins* under its name, with two functions that the exchange calls from a thread of its
own. ``describe`` gives what the node publishes (:mod:`django_graceful.nodes.table`), ``obey`` carries one order out
and gives the reply; both take and give JSON values, return at once, and may be called at any time until the node
leaves or dies. A node that has died is gone from :meth:`Exchange.nodes` without anybody's doing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Describe = Callable[[], Json]
Obey = Callable[[Json], Json]


class Exchange(ABC):
    """One process's part in the exchange of one store. Making one opens nothing. Any thread may use it."""

    @abstractmethod
    def join(self, node: str, describe: Describe, obey: Obey) -> None:
        """Make this OS process visible as ``node``; a child that it forks is not. At most once until :meth:`leave`.

        Raises :class:`~django_graceful.exceptions.StoreUnavailable`.
        """

    @abstractmethod
    def leave(self) -> None:
        """Not visible any more. Nothing, for a process that has not joined (the child of a fork, too)."""

    @abstractmethod
    def nodes(self) -> list[Json]:
        """What every living node publishes, runners too, in no order; this takes at most about half a second.

        A node that lives and does not answer is ``{"node": name, "pid": pid or None, "silent": True}``, with ``kind``
        when that is known (the name of a silent runner may be empty). Raises
        :class:`~django_graceful.exceptions.StoreUnavailable` when nobody can be asked.
        """

    @abstractmethod
    def order(self, node: str, order: Json) -> Json | None:
        """Give that node an order; its reply. None: there is no such node (any more).

        Raises :class:`~django_graceful.exceptions.StoreUnavailable` when it lives and does not answer within about two
        seconds; it may still carry the order out.
        """


class LocalExchange(Exchange):
    """The exchange of a store that lives in one process: the only node is this one, if it has joined."""

    def __init__(self) -> None:
        self._node: tuple[str, Describe, Obey] | None = None

    def join(self, node: str, describe: Describe, obey: Obey) -> None:
        self._node = node, describe, obey

    def leave(self) -> None:
        self._node = None

    def nodes(self) -> list[Json]:
        return [] if self._node is None else [self._node[1]()]

    def order(self, node: str, order: Json) -> Json | None:
        return self._node[2](order) if self._node is not None and self._node[0] == node else None
