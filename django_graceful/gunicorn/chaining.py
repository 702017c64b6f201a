"""Our hooks after those of the site, as one hook; gunicorn counts the parameters of each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("django_graceful.gunicorn")

Hook = Callable[..., Any]


def chained(name: str, theirs: Any, ours: Hook, arity: int, *, begins: bool) -> Hook:
    """A hook of that arity: theirs (a function, its dotted path, or None), then ours.

    What theirs raises ends a start (``begins``), as gunicorn has it; otherwise it is logged, and ours runs all the
    same. Raises ``TypeError`` for a hook that is not callable, as gunicorn would.
    """
    if theirs is None or theirs is ours or getattr(theirs, "graceful", None) is ours:
        return theirs or ours
    from gunicorn.config import validate_callable

    first: Any = validate_callable(arity)(theirs)

    def both(*arguments: Any) -> None:
        if begins:
            first(*arguments)
        else:
            _call(name, first, arguments)
        ours(*arguments)

    return _of_arity(both, arity, ours)


def _call(name: str, hook: Hook, arguments: tuple[Any, ...]) -> None:
    try:
        hook(*arguments)
    except Exception:
        logger.exception("the site's %s hook failed", name)


def _of_arity(both: Hook, arity: int, ours: Hook) -> Hook:
    def of_one(one: Any) -> None:
        both(one)

    def of_two(one: Any, two: Any) -> None:
        both(one, two)

    made: Any = of_one if arity == 1 else of_two
    made.graceful = ours
    hook: Hook = made
    return hook
