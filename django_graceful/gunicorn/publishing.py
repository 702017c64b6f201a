"""What a worker of gunicorn publishes of itself in the table of nodes, so that ``manage.py graceful restart`` and
``shutdown --web`` find its arbiter and see that it has booted. Runs in the worker, once it has loaded the site.

Besides what every node has: ``arbiter``, its pid, and ``server``: ``python`` (the interpreter), ``arguments`` (of the
``gunicorn`` command; null for a program of the site's own), ``directory`` (where it was started), ``workers``,
``preload``, ``graceful_timeout`` (seconds), ``pid_file`` (or null) and ``sidecar`` (the pid of the keeper of
``runqueues``, or null).
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication

from django_graceful.gunicorn import sidecar
from django_graceful.nodes import join, table

#: Read while the configuration is: before ``--chdir``, which may be relative to it, has any effect.
_BEGAN_IN = os.getcwd()


def publish(worker: Any) -> None:
    """Be a node from now on. Never raises for the store's sake: what is wrong there is logged."""
    table.facts.update(arbiter=worker.ppid, server=_server(worker))
    join("web")


def _server(worker: Any) -> dict[str, Any]:
    cfg = worker.cfg
    return {
        "python": sys.executable,
        "arguments": sys.argv[1:] if isinstance(worker.app, WSGIApplication) else None,
        "directory": _BEGAN_IN,
        "workers": int(cfg.workers),
        "preload": bool(cfg.preload_app),
        "graceful_timeout": float(cfg.graceful_timeout),
        "pid_file": None if cfg.pidfile is None else os.path.abspath(cfg.pidfile),
        "sidecar": sidecar.keeper_pid(),
    }
