"""What this OS process publishes: its processes as rows of JSON values, and the orders that it obeys.

A node is ``{"node", "kind", "host", "pid", "phase", "since", "version", "processes": [rows], "left_out"}``; a gunicorn
worker has :mod:`more <django_graceful.gunicorn.publishing>`. A row is
``{"id", "description", "kind", "since", "parent", "progress": {"done", "total", "step"} or null, "commands": [{"pid",
"command"}], "system", "stop": {"reason", "by", "note", "asked_at", "stopping_at", "killed_at"} or null}``, and of a job
it also has ``queue``, ``item``, ``items``, ``execution`` and ``attempt``. Times are seconds since the epoch.

Called from the thread that answers for this node, while others work on: everything here only looks.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from typing import Any, Final

import django_graceful
from django_graceful import processes, readiness
from django_graceful.lifecycle import node
from django_graceful.nodes import names

Json = dict[str, Any]

#: Rows that a node publishes; what is beyond is only counted.
MAX_ROWS: Final = 1000
#: What this OS process publishes besides, by whoever runs it; a fork begins with nothing.
facts: Json = {}


def describe(kind: str) -> Json:
    """This node, as it is now."""
    rows: list[Json] = []
    left_out = 0
    for process in _walk(processes.roots()):
        if len(rows) < MAX_ROWS:
            rows.append(row(process))
        else:
            left_out += 1
    return frame(kind, names.since, node.phase) | facts | {"processes": rows, "left_out": left_out}


def frame(kind: str, since: float, phase: str) -> Json:
    """What is published of this OS process itself."""
    return {
        "node": names.current,
        "kind": kind,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "phase": str(phase),
        "since": since,
        "version": django_graceful.__version__,
    }


def row(process: processes.Process) -> Json:
    """One process."""
    return {
        "id": process.id,
        "description": str(process.description),
        "kind": process.kind,
        "since": process.since,
        "parent": None if process.parent is None else process.parent.id,
        "progress": _progress(process),
        "commands": [{"pid": pid, "command": command} for pid, command in tuple(process.commands.items())],
        "system": process.system,
        "stop": stop_of(process.stop),
    } | process.details


def stop_of(stop: processes.Stop | None) -> Json | None:
    """How far the ladder came that ends a process."""
    if stop is None:
        return None
    return {
        "reason": stop.reason,
        "by": stop.by,
        "note": stop.note,
        "asked_at": stop.asked_at,
        "stopping_at": stop.stopping_at,
        "killed_at": None,
    }


def find(process_id: str) -> processes.Process | None:
    """The process of this OS process that has this id."""
    return next((process for process in _walk(processes.roots()) if process.id == process_id), None)


def obey(order: Json) -> Json:
    """Carry out an order of another node: ``{"cancel": id, "by", "note"}``, or ``{"ready": whether}``. The reply is
    ``{"reply": …}``.
    """
    if "ready" in order:
        readiness.switch(ready=bool(order["ready"]))
        return {"reply": "asked"}
    found = find(str(order.get("cancel")))
    if found is None:
        return {"reply": "unknown"}
    if found.system:
        return {"reply": "system"}
    found.cancel(by=str(order.get("by", "")), note=str(order.get("note", "")))
    return {"reply": "asked"}


def _walk(found: tuple[processes.Process, ...]) -> Iterator[processes.Process]:
    """Each of them, followed by all below it."""
    waiting = list(reversed(found))
    while waiting:
        process = waiting.pop()
        yield process
        waiting.extend(reversed(process.children))


def _progress(process: processes.Process) -> Json | None:
    if process.done is None:
        return None
    return {"done": number(process.done), "total": number(process.total), "step": str(process.step)}


def number(value: Any) -> float | None:
    """As JSON can hold it: a site may count in decimals, or have nothing to divide by."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(found):
        return None
    return int(found) if found.is_integer() else found


os.register_at_fork(after_in_child=facts.clear)
