"""All nodes as people see them: a runner and its workers are one tree, a command and its supervisor one node. Pure.

What runs in a worker is published twice: by the runner, which knows the item, the wish and the ladder, and by the
worker, when there is more to say: progress, commands, and processes below. A command speaks for itself; its supervisor,
a node that *stands for* it, only when the command does not answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_graceful.nodes.names import stands_for

Json = dict[str, Any]


def sound(node: Any) -> bool:
    """Whether this is what a node publishes, as far as the rest of this module relies on it."""
    if not isinstance(node, dict) or not isinstance(node.get("node"), str):
        return False
    rows = node.get("processes")
    return bool(node.get("silent")) or (
        isinstance(rows, list) and all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows)
    )


def merge(nodes: Iterable[Json]) -> list[Json]:
    """The nodes, each once, runners first and then the oldest, with the rows of workers below their runner's jobs.

    A worker whose rows have all gone there is left out, and so is one that has none.
    """
    found = _represented({node["node"]: node for node in nodes if sound(node)})
    workers = [node for node in found.values() if node.get("kind") == "worker" and not node.get("silent")]
    more = {row["id"]: (worker, row) for worker in workers for row in worker["processes"]}
    taken: set[str] = set()
    merged = [_whole(node, more, taken) if node.get("kind") == "runner" else node for node in found.values()]
    left = [_without(node, taken) if node.get("kind") == "worker" else node for node in merged]
    kept = [node for node in left if node.get("kind") != "worker" or node.get("silent") or node["processes"]]
    return sorted(kept, key=lambda node: (node.get("kind") != "runner", node.get("since") or 0.0, node["node"]))


def _represented(found: dict[str, Json]) -> dict[str, Json]:
    """Without those that stand for others; each in the place of the one that is silent, if it knows what runs there."""
    shown = {name: node for name, node in found.items() if not stands_for(name)}
    for name, node in found.items():
        other = stands_for(name)
        if node.get("processes") and shown.get(other, {}).get("silent"):
            shown[other] = node | {"node": other}
    return shown


def _whole(runner: Json, more: dict[str, tuple[Json, Json]], taken: set[str]) -> Json:
    if runner.get("silent"):
        return runner
    return runner | {"processes": [row for job in runner["processes"] for row in _complete(job, more, taken)]}


def _complete(job: Json, more: dict[str, tuple[Json, Json]], taken: set[str]) -> list[Json]:
    """A job's row with what its worker knows of it, and the worker's rows below it."""
    if job["id"] not in more:
        return [job]
    worker, own = more[job["id"]]
    taken.add(job["id"])
    known = {name: own.get(name, job.get(name)) for name in ("description", "progress", "commands")}
    rows = [job | known]
    inside = {job["id"]}
    for row in worker["processes"]:  # parents come before their children
        if row.get("parent") in inside:
            inside.add(row["id"])
            taken.add(row["id"])
            rows.append(row)
    return rows


def _without(node: Json, taken: set[str]) -> Json:
    if node.get("silent"):
        return node
    return node | {"processes": [row for row in node["processes"] if row["id"] not in taken]}
