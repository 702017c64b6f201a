"""``shutdown --web``: stop the web servers of this host, after load balancers have had the time to look elsewhere.

First every worker's ``health/ready`` says 503; that is repeated while ``DRAIN_DELAY`` passes, for workers that have
booted meanwhile. Then gunicorn gets TERM, and with it a sidecar. Fit for a ``preStop`` hook: without a server there is
nothing to do, which is a success. When this command is interrupted before the TERM, the workers are ready again.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, suppress
from typing import Any

from django_graceful.conf import get_conf
from django_graceful.console.report import Look, Report
from django_graceful.console.servers import Handle, Server, all_servers, look
from django_graceful.exceptions import StoreUnavailable
from django_graceful.nodes import order

#: Seconds between two looks for workers that are new.
_LOOK = 0.5


def stop_web(options: dict[str, Any], screen: Look) -> Report:
    """Stop them; the report says which, and with ``--wait`` which have ended."""
    servers = all_servers()
    with ExitStack() as stack:
        handles = {server.arbiter: stack.enter_context(Handle(server.arbiter)) for server in servers}
        _withdraw({server.arbiter for server in servers}, get_conf().drain_delay, screen)
        for handle in handles.values():
            handle.send(signal.SIGTERM)
        ended = _wait(handles, options["timeout"] if options["wait"] else None)
    data = {"servers": [{"pid": server.arbiter, "ended": ended[server.arbiter]} for server in servers]}
    late = sorted(pid for pid, state in ended.items() if state is False)
    failure = f"still running after {options['timeout']:g} s: pid {', '.join(map(str, late))}" if late else ""
    return Report(data, "\n".join(_text(server, ended) for server in servers) or "No web server is seen here.", failure)


def _withdraw(arbiters: set[int], delay: float, screen: Look) -> None:
    told: set[str] = set()
    end = time.monotonic() + delay
    try:
        while True:
            _switch(arbiters, told, ready=False)
            left = end - time.monotonic()
            if left <= 0:
                return
            if told and left > delay - _LOOK:
                screen.say(f"not ready any more; waiting {delay:g} s for load balancers")
            time.sleep(min(left, _LOOK))
    except BaseException:
        _switch(arbiters, set(), ready=True)
        raise


def _switch(arbiters: set[int], told: set[str], *, ready: bool) -> None:
    """Tell the workers that have not been told."""
    for node in look():
        if node.get("arbiter") in arbiters and node["node"] not in told:
            with suppress(StoreUnavailable):  # it is busy; it stops all the same
                order(node["node"], {"ready": ready})
                told.add(node["node"])


def _wait(handles: dict[int, Handle], seconds: float | None) -> dict[int, bool | None]:
    if seconds is None:
        return dict.fromkeys(handles)
    end = time.monotonic() + seconds
    return {pid: handle.ended(max(0.0, end - time.monotonic())) for pid, handle in handles.items()}


def _text(server: Server, ended: dict[int, bool | None]) -> str:
    state = {True: "has ended", False: "has not ended yet", None: "was asked to stop"}
    return f"{server.name} {state[ended[server.arbiter]]}"
