"""``on_commit`` in a test that is one transaction: what a handler leaves for the commit happens when it has ended.

A handler runs in autocommit mode in a worker. In a ``TestCase`` it runs inside the test's transaction, which is never
committed, so what it registered with ``transaction.on_commit`` would never be called.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

logger = logging.getLogger("django_graceful.test")


def _within_transactions() -> list[Any]:
    return [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]


def uncommitted() -> int:
    """How many functions of this thread wait for a commit."""
    return sum(len(connection.run_on_commit) for connection in _within_transactions())


@contextmanager
def committed_at_the_end() -> Iterator[None]:
    """What the body registers for the commit of a transaction around it is called at the end, also when it raises.

    What was registered before stays as it is.
    """
    marks = [(connection, len(connection.run_on_commit)) for connection in _within_transactions()]
    try:
        yield
    finally:
        for connection, mark in marks:
            while len(connection.run_on_commit) > mark:
                pending = connection.run_on_commit[mark:]
                del connection.run_on_commit[mark:]
                for _, function, robust in pending:
                    _call(function, robust)


def _call(function: Any, robust: bool) -> None:
    try:
        function()
    except Exception:
        if not robust:
            raise
        logger.exception("a robust on_commit function failed")
