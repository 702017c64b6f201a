"""``python -m django_graceful.gunicorn.trial ARGUMENTS OF GUNICORN …``: would a worker boot?

Does what a worker does before it serves: reads the configuration, loads the application, and then what Django loads at
the first request only: the addresses, and with them all views. Serves nothing. Ends with 0 when all of it could be
loaded, else with a traceback and 1. ``manage.py graceful restart`` runs it before it touches a worker that serves, with
the interpreter, directory and environment of the arbiter.
"""

from __future__ import annotations

import os
import sys

from gunicorn.app.wsgiapp import WSGIApplication


def main() -> None:
    """Load everything. Raises what that raises."""
    app = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]")
    os.environ.update(app.cfg.env)
    for path in reversed((app.cfg.pythonpath or "").split(",")):
        if path:
            sys.path.insert(0, os.path.abspath(path))
    app.wsgi()
    from django.urls import get_resolver

    _load(get_resolver())


def _load(resolver: object) -> None:
    for pattern in getattr(resolver, "url_patterns", ()):
        _load(pattern)


if __name__ == "__main__":
    main()
