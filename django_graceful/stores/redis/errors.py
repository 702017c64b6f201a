"""What the server or the way to it says, as errors of ours. No text of ours names a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as theirs

from django_graceful.exceptions import StoreError, StoreFull, StoreUnavailable

#: How the server's refusals begin, and what to do about each.
_REFUSALS: tuple[tuple[str, type[StoreError], str], ...] = (
    ("OOM", StoreFull, "its maxmemory is reached: give it more, or find out what fills it"),
    ("READONLY", StoreUnavailable, "it is a replica that takes no writes; name the primary, or use Sentinel"),
    ("LOADING", StoreUnavailable, "it is reading its data from the disk; this takes seconds to minutes"),
    ("MISCONF", StoreUnavailable, "it can not save its data to the disk, so it takes no writes: look at its log"),
    ("MASTERDOWN", StoreUnavailable, "it is a replica without its primary"),
    ("NOREPLICAS", StoreUnavailable, "it has too few replicas for its min-replicas-to-write"),
    ("BUSY", StoreUnavailable, "a script of somebody has run for seconds"),
    ("NOAUTH", StoreUnavailable, "it wants a password"),
    ("WRONGPASS", StoreUnavailable, "it does not take this user and password"),
    ("NOPERM", StoreUnavailable, "this user may not do that: it needs scripts, and the keys and channels {graceful*"),
    ("WRONGTYPE", StoreError, "another program has written to our keys"),
)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Errors of redis-py that leave this block are ours; ``place`` is where the server is, in words.

    After a :class:`~django_graceful.exceptions.StoreUnavailable` whose connection broke, the step may have been carried
    out all the same.
    """
    try:
        yield
    except theirs.RedisError as error:
        raise explain(place, error) from error


def explain(place: str, error: theirs.RedisError) -> StoreError:
    """The error of ours for that one."""
    text = str(error)
    for word, kind, hint in _REFUSALS:
        if word in text.replace("-", " ").split() or _is(error, word):
            return kind(f"{place} refuses: {hint} ({text})")
    if isinstance(error, theirs.TimeoutError):
        return StoreUnavailable(f"{place} does not answer: {text}")
    if isinstance(error, theirs.ConnectionError):
        return StoreUnavailable(f"{place} can not be reached: {text}")
    return StoreError(f"{place}: {text}")


def _is(error: theirs.RedisError, word: str) -> bool:
    """redis-py takes the first word off the errors that it knows."""
    return {
        "OOM": "OutOfMemoryError",
        "READONLY": "ReadOnlyError",
        "LOADING": "BusyLoadingError",
        "NOPERM": "NoPermissionError",
        "NOAUTH": "AuthenticationError",
        "MASTERDOWN": "MasterDownError",
    }.get(word) == type(error).__name__
