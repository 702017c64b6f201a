"""What ``@queue(…)`` is for type checkers: from the handler's parameter to what the queue's ``push`` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from django_graceful.queues import Queue

P = TypeVar("P")


class Declare(Protocol):
    """Makes a queue of what the handler takes."""

    def __call__(self, handler: Callable[[P], Any], /) -> Queue[P]: ...


class DeclareBatch(Protocol):
    """With ``batch_length``: makes a queue of what is in the handler's list."""

    def __call__(self, handler: Callable[[list[P]], Any], /) -> Queue[P]: ...
