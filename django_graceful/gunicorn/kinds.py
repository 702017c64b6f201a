"""What kind of worker this is: how it hears signals, where views run, and how soon it sees that it is idle."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Kind(Enum):
    """The worker classes that are told apart; a class of the site's own is what it derives from."""

    #: Views run in the main thread; also whatever is not known.
    SYNC = "sync"
    GTHREAD = "gthread"
    TORNADO = "tornado"
    GEVENT = "gevent"
    #: gunicorn's own, and uvicorn's: an event loop in the main thread.
    ASGI = "asgi"
    UVICORN = "uvicorn"

    @property
    def slack(self) -> float:
        """Seconds until it sees that its last request is over."""
        return {Kind.GEVENT: 1.0, Kind.TORNADO: 2.0}.get(self, 0.1)

    @property
    def has_loop(self) -> bool:
        """Whether its main thread belongs to asyncio, which has the wakeup descriptor for itself."""
        return self in (Kind.ASGI, Kind.UVICORN)

    @property
    def views_in_main(self) -> bool:
        """Whether a view is what a signal handler interrupts."""
        return self in (Kind.SYNC, Kind.TORNADO)


_BY_MODULE = {
    "gunicorn.workers.gthread": Kind.GTHREAD,
    "gunicorn.workers.gtornado": Kind.TORNADO,
    "gunicorn.workers.ggevent": Kind.GEVENT,
    "gunicorn.workers.gasgi": Kind.ASGI,
}


def kind_of(worker_class: type[Any]) -> Kind:
    """The kind of a worker class."""
    for base in worker_class.__mro__:
        if base.__module__ in _BY_MODULE:
            return _BY_MODULE[base.__module__]
        if base.__name__ == "UvicornWorker":  # of uvicorn-worker, or of the uvicorn that had it
            return Kind.UVICORN
    return Kind.SYNC
