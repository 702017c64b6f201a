"""gunicorn's configuration for a site with background work: ``gunicorn -c python:django_graceful.gunicorn site.wsgi``.

A site that has a configuration of its own ends it with two lines, and keeps every value and every hook it has set::

    from django_graceful.gunicorn import install
    install(globals())

What it does: a worker that is asked to stop, in whatever way, cancels what still runs shortly before gunicorn would
kill it (:mod:`~django_graceful.gunicorn.guard`): subprocesses end, ``finally`` blocks run, the client gets an answer.
And the arbiter ends what a killed worker left (:mod:`~django_graceful.gunicorn.arbiter`), and runs ``runqueues`` if the
site wants that (:mod:`~django_graceful.gunicorn.sidecar`). ``docs/deploying.md`` says
what each worker class can promise, and which number must be larger than which.

Runs in gunicorn's arbiter (import, :func:`install`) and in its workers (hooks). Nothing is opened or started at import.
"""

from __future__ import annotations

from typing import Any

from django_graceful.gunicorn.arbiter import child_exit, on_exit, on_starting
from django_graceful.gunicorn.chaining import Hook, chained
from django_graceful.gunicorn.sidecar import on_reload, when_ready
from django_graceful.gunicorn.worker import post_fork, post_worker_init, worker_abort, worker_exit, worker_int

__all__ = ["install"]

worker_class = "gthread"
threads = 4
#: Seconds that a worker has after TERM before gunicorn kills it.
graceful_timeout = 30
#: gunicorn 25.1 opens one control socket per *user*: a second gunicorn takes it over and removes it when it leaves.
control_socket_disable = True

_DEFAULTS = ("worker_class", "threads", "graceful_timeout", "control_socket_disable")
#: By name: the hook, how many arguments it gets, and whether it is part of a start, which it may prevent.
_HOOKS: dict[str, tuple[Hook, int, bool]] = {
    "on_starting": (on_starting, 1, True),
    "when_ready": (when_ready, 1, True),
    "on_reload": (on_reload, 1, True),
    "post_fork": (post_fork, 2, True),
    "post_worker_init": (post_worker_init, 1, True),
    "worker_int": (worker_int, 1, False),
    "worker_abort": (worker_abort, 1, False),
    "worker_exit": (worker_exit, 2, False),
    "child_exit": (child_exit, 2, False),
    "on_exit": (on_exit, 1, False),
}


def install(namespace: dict[str, Any]) -> None:
    """Lay this configuration under ``namespace``, the globals of a gunicorn configuration file.

    Values that are set there stay. A hook that is set there (a function, or its dotted path) runs first, then ours.
    What it raises is logged, or, in a hook of the start, keeps server or worker from starting, as without us. Raises
    ``TypeError`` for a hook that is not callable, as gunicorn would. May be called twice.
    """
    own_class = "worker_class" in namespace
    for name in _DEFAULTS:
        if name != "threads" or not own_class:  # with threads, sync is made gthread, and asgi complains
            namespace.setdefault(name, globals()[name])
    for name, (ours, arity, begins) in _HOOKS.items():
        namespace[name] = chained(name, namespace.get(name), ours, arity, begins=begins)
