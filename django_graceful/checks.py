"""System checks: everything that can be wrong with settings and queues, said before it hurts.

They run with ``manage.py check`` and before most commands; those marked * only with ``check --deploy``. They look and
change nothing, make no directory, open no store, and never raise, whatever the settings are; only ``check --deploy``
asks the servers of redis stores and the databases of outboxes how they are set up. Silence one by its id in
``SILENCED_SYSTEM_CHECKS``.

=====  ===============================================================================================
E001   a setting is wrong: an unknown key, a wrong type, a store that is not there
E002   a store's directory can not be made or used: a file is in the way, or it is not writable
E003   a store lies in ``MEDIA_ROOT``, ``STATIC_ROOT`` or ``STATICFILES_DIRS``: the world could read it
E004   a store is on a network file system
E005   the package for LevelDB is missing
E006   two stores have one directory, or one lies in the other
E007   a queue's handler can not be called with one argument, or is a generator
E008   a queue's store is not in ``STORES``
E009   the settings give a queue options that can not go together with those in the code
E010   a redis store's cache is not in ``CACHES``, or none of django-redis, or that package is missing
E011*  a redis store's server is too old
E012   a queue's outbox is in a database that is not there or takes no part
E030   a schedule names a queue that no code declares
E031   a schedule's queue is in a memory store, and no runner sees its ticks
E032   a schedule says no key, and its queue is unique by a key function
E033   ``TASKS`` names our backend, and there is no Tasks framework
W001   ``QUEUES`` names a queue that no code declares
W002   a queue is in a memory store, which ``runqueues`` can not see
W003   a store lies in a Python package
W004   a store is on a file system in memory, lost at a reboot
W005   the options of a queue contradict each other
W006   ``MODE`` lets the group in, the directory does not
W007*  ``HAMMER_AFTER`` and ``KILL_AFTER`` are longer than platforms wait
W008*  a queue is immediate: no work of it is in the background
W009   a redis store shares its database with a cache, and ``cache.clear()`` empties it
W010*  a redis store's server throws keys away when its memory is full
W011*  a redis store's server loses what is queued when it restarts
W012*  a redis store's server can not be looked at
W013*  numbers of gunicorn's configuration do not fit
W014*  a database has no table for the outbox
=====  ===============================================================================================
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from django_graceful import outbox_checks, redis_checks
from django_graceful.conf import Conf, Fault, StoreConf, read_all
from django_graceful.options import Options, nearest
from django_graceful.places import Place, look
from django_graceful.queues import Queue, all_queues, find_queue

#: What Kubernetes, Heroku and others give a process between TERM and KILL, in seconds.
_PLATFORM_PATIENCE = 30


def _settings() -> tuple[Conf, list[Fault]]:
    return read_all()


@register("django_graceful")
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: every fault of ``GRACEFUL``."""
    return [Error(f"{fault.where} {fault.what}.", hint=fault.hint, id=_id("E001")) for fault in _settings()[1]]


@register("django_graceful")
def check_stores(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The directories of the stores, and the package that opens them."""
    stores = [conf for conf in _settings()[0].stores.values() if conf.backend == "leveldb"]
    places = {conf.alias: look(conf.path) for conf in stores}
    found = [message for conf in stores for message in _check_place(conf, places[conf.alias])]
    found += [message for conf in _redis_stores() for message in redis_checks.check_alias(conf)]
    return [*found, *_check_binding(stores), *_check_neighbours(places)]


@register("django_graceful")
def check_queues(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What the code declares, with the settings laid over it."""
    conf, faults = _settings()
    queues = all_queues()
    found = list(_check_overrides(conf, queues))
    stores_read = not any(fault.where.startswith("GRACEFUL['STORES']") for fault in faults)
    for queue in queues.values():
        try:
            options = queue.options_under(conf)
        except ImproperlyConfigured as error:
            text = str(error)
            found.append(Error(f"{text[:1].upper()}{text[1:]}.", hint="Leave one of them out.", id=_id("E009")))
            continue
        found += [*_check_handler(queue, options), *_check_options(queue, options)]
        found += outbox_checks.check_queue(queue.name, options, _id("E012"))
        if stores_read:
            found += _check_store(queue, options, conf)
    return found


@register("django_graceful")
def check_tasks_framework(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E033. (What is wrong with a backend is said by the framework's own checks: E030 to E032 and W030.)"""
    named = "django_graceful.tasks." in str(getattr(settings, "TASKS", None))
    if not named or "django_graceful.compat" in sys.modules:
        return []
    text = f"TASKS names a backend of django_graceful, and Django {django.get_version()} has no Tasks framework."
    return [Error(text, hint="pip install 'django-graceful-queues[backport]'", id=_id("E033"))]


def _is_immediate(queue: Queue[Any], conf: Conf) -> bool:
    try:
        return queue.options_under(conf).immediate
    except ImproperlyConfigured:  # E009 says so
        return False


def _declared(conf: Conf) -> Iterator[Options]:
    for queue in all_queues().values():
        with suppress(ImproperlyConfigured):
            yield queue.options_under(conf)


@register("django_graceful", deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What is fine on a desk and not on a server."""
    conf = _settings()[0]
    found: list[CheckMessage] = [
        Warning(
            f"Queue {queue.name!r} is immediate: its handler runs inside push, in the web request.",
            hint="Set immediate=True only in the settings of tests.",
            id=_id("W008"),
        )
        for queue in all_queues().values()
        if _is_immediate(queue, conf)
    ]
    patience = conf.hammer_after + conf.kill_after
    if patience > _PLATFORM_PATIENCE:
        hint = f"Many platforms kill {_PLATFORM_PATIENCE} s after TERM (Docker: 10 s). Raise that, or lower these."
        text = (
            f"A shutdown may take {patience:g} s: HAMMER_AFTER {conf.hammer_after:g} + KILL_AFTER {conf.kill_after:g}."
        )
        found.append(Warning(text, hint=hint, id=_id("W007")))
    found += (message for conf in _redis_stores() for message in redis_checks.check_server(conf))
    found += outbox_checks.check_tables(conf, list(_declared(conf)), _id("W014"))
    return [*found, *_check_gunicorn()]


def _check_gunicorn() -> Iterator[CheckMessage]:
    from django_graceful.gunicorn.numbers import misfits, written

    base = getattr(settings, "BASE_DIR", None)
    directories = [Path.cwd(), *([Path(base)] if isinstance(base, str | os.PathLike) else [])]
    for text, hint in misfits(written(directories, os.environ)):
        yield Warning(f"{text}.", hint=hint, id=_id("W013"))


def _redis_stores() -> list[StoreConf]:
    return [conf for conf in _settings()[0].stores.values() if conf.backend == "redis"]


def _check_place(conf: StoreConf, place: Place) -> Iterator[CheckMessage]:
    where = f"The store {conf.alias!r} ({conf.path})"
    if place.obstacle:
        hint = "Give the directory to the user who runs the site; for two users of one group set MODE to 0o660."
        yield Error(f"{where} can not be used: {place.obstacle}.", hint=hint, id=_id("E002"))
    for name, root in _served_roots():
        if place.path.is_relative_to(root):
            yield Error(
                f"{where} lies in {name}.", hint="What lies there is served to the world. " + _MOVE, id=_id("E003")
            )
    if place.is_remote:
        hint = "File locks and shared memory are not safe between hosts. " + _MOVE
        yield Error(f"{where} is on a network file system ({place.filesystem}).", hint=hint, id=_id("E004"))
    if place.is_package:
        yield Warning(f"{where} lies in a Python package.", hint="An update may replace it. " + _MOVE, id=_id("W003"))
    if place.is_volatile:
        text = f"{where} is on a file system in memory ({place.filesystem})."
        yield Warning(text, hint="A reboot loses what is queued. " + _MOVE, id=_id("W004"))
    if conf.mode & 0o060 and place.mode is not None and place.mode & 0o070 != 0o070:
        text = f"{where} has MODE {conf.mode:#o}, but the directory has {place.mode:#o}: the group can not use it."
        yield Warning(text, hint=f"chmod 2770 {place.path}", id=_id("W006"))


_MOVE = "Set PATH to a directory of its own on a local disk, for example BASE_DIR / 'var/graceful'."


def _served_roots() -> Iterator[tuple[str, Path]]:
    several = getattr(settings, "STATICFILES_DIRS", ())
    several = several if isinstance(several, list | tuple) else ()
    one = [(name, getattr(settings, name, None)) for name in ("MEDIA_ROOT", "STATIC_ROOT")]
    for name, root in [*one, *(("STATICFILES_DIRS", entry) for entry in several)]:
        path = root[1] if isinstance(root, list | tuple) and len(root) == 2 else root
        if isinstance(path, str | Path) and str(path) and "\0" not in str(path):
            yield name, Path(os.path.realpath(path))


def _check_binding(stores: list[StoreConf]) -> Iterator[CheckMessage]:
    if stores and find_spec("plyvel") is None and find_spec("plyvel_next") is None:
        package = "plyvel-next" if sys.version_info >= (3, 13) else "plyvel"
        text = f"The store {stores[0].alias!r} is in LevelDB, and its Python package is not installed."
        yield Error(text, hint=f"pip install {package}", id=_id("E005"))


def _check_neighbours(places: dict[str, Place]) -> Iterator[CheckMessage]:
    for (one, here), (other, there) in combinations(places.items(), 2):
        if here.path.is_relative_to(there.path) or there.path.is_relative_to(here.path):
            text = f"The stores {one!r} and {other!r} are in one directory: {here.path} and {there.path}."
            yield Error(text, hint="Give each its own PATH, beside the other's.", id=_id("E006"))


def _check_overrides(conf: Conf, queues: Iterable[str]) -> Iterator[CheckMessage]:
    for name in sorted(name for name in conf.queues.keys() - set(queues) if find_queue(name) is None):
        text = f"GRACEFUL['QUEUES'] names {name!r}, which no app's queues.py declares{nearest(name, queues)}."
        yield Warning(text, hint=f"Declared are: {', '.join(sorted(queues)) or 'none'}.", id=_id("W001"))


def _check_handler(queue: Queue[Any], options: Options) -> Iterator[CheckMessage]:
    what = "a list of payloads" if options.batch_length > 1 else "the payload"
    try:
        inspect.signature(queue.handler, follow_wrapped=False).bind(None)
    except TypeError as error:
        text = f"The handler of queue {queue.name!r} can not be called with one argument: {error}."
        yield Error(text, hint=f"It gets {what}, by position.", obj=queue, id=_id("E007"))
    except ValueError:  # written in C, and says nothing of its arguments
        pass
    lazy = inspect.isgeneratorfunction(queue.handler) and options.batch_length == 1
    if lazy or inspect.isasyncgenfunction(queue.handler):
        text = f"The handler of queue {queue.name!r} is a generator: calling it runs nothing."
        yield Error(text, hint="Take the yield out of it.", obj=queue, id=_id("E007"))


def _check_store(queue: Queue[Any], options: Options, conf: Conf) -> Iterator[CheckMessage]:
    store = conf.stores.get(options.store)
    if store is None:
        text = f"Queue {queue.name!r} is in store {options.store!r}, which GRACEFUL['STORES'] does not have"
        hint = f"It has: {', '.join(conf.stores) or 'none'}."
        yield Error(f"{text}{nearest(options.store, conf.stores)}.", hint=hint, id=_id("E008"))
    elif store.backend == "memory" and not store.spill_to and not options.immediate:
        text = f"Queue {queue.name!r} is in the memory store {store.alias!r}: runqueues can not see it."
        yield Warning(text, hint="Use a leveldb store, SPILL_TO, or IMMEDIATE for tests.", id=_id("W002"))


def _check_options(queue: Queue[Any], options: Options) -> Iterator[CheckMessage]:
    for wrong, text, hint in _CONTRADICTIONS:
        if wrong(queue, options):
            yield Warning(f"Queue {queue.name!r}: {text}.", hint=hint, id=_id("W005"))


_CONTRADICTIONS: tuple[tuple[Callable[[Queue[Any], Options], bool], str, str], ...] = (
    (
        lambda queue, options: options.batch_length > 1 and not options.rerun,
        "a worker that dies sets its whole batch aside as dead (rerun=False with batch_length)",
        "Set batch_length=1, or make the handler safe to run again and leave rerun out.",
    ),
    (
        lambda queue, options: options.batch_length == 1 and options.batch_wait != Options().batch_wait,
        "batch_wait has no effect without batch_length",
        "Set batch_length above 1, or leave batch_wait out.",
    ),
    (
        lambda queue, options: options.length is not None and options.length < options.batch_length,
        "a batch never fills, because fewer items may wait (length) than it takes (batch_length)",
        "Raise length, or lower batch_length.",
    ),
    (
        lambda queue, options: options.backoff > options.backoff_max,
        "the first wait is longer than the longest (backoff and backoff_max)",
        "Raise backoff_max, or lower backoff.",
    ),
    (
        lambda queue, options: queue.key is not None and options.unique is None,
        "it has a key function and is not unique, so the key keeps nothing out",
        "Set unique='queued', or leave key out.",
    ),
)


def _id(number: str) -> str:
    return f"django_graceful.{number}"
