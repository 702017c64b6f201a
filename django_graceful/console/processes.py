"""``processes``: what runs now in every node, as a tree: with its commands, its progress, and how far its end is."""

from __future__ import annotations

import time
from typing import Any

from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.console.tables import Column, render
from django_graceful.console.text import clean, duration, moment, plural
from django_graceful.nodes import running

KEYS = """\
nodes: a list of objects; one that lives and does not answer has node, pid (or null) and silent (true)
  node, kind (runner, web, command or worker), host, pid, phase, since (epoch seconds), version
  hammer_in (seconds or null) and workers (object: busy, idle, starting): of a runner
  memory (object: master, workers; bytes) and figures (by store and queue; see metrics): of a runner
  left_out: how many processes are not listed, because there are so many
  processes: a list of objects, parents before their children
    id, description, kind (request, command, job or empty), since, parent (id or null), system
    progress: null, or an object: done, total, step
    commands: a list of objects: pid, command
    stop: null, or an object: reason, by, note, asked_at, stopping_at, killed_at (epoch seconds or null)
    pid, store, queue, item, items, execution, attempt: of a job"""

_COLUMNS = [
    Column("ID"),
    Column("WHAT", gives=True),
    Column("KIND"),
    Column("SINCE", right=True),
    Column("PROGRESS", gives=True),
    Column("PID", right=True),
]
_BAR = 10


def run_processes(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """Every node that answers, and what runs in it."""
    nodes = running(options["store"])
    now = time.time()
    text = "\n\n".join(node_text(node, now, look) for node in nodes)
    return Report({"nodes": nodes}, text or "Nothing runs: no runner, no web process and no command takes part now.")


def node_text(node: dict[str, Any], now: float, look: Look) -> str:
    """One node and its tree, for people."""
    if node.get("silent"):
        pid = "pid unknown" if node.get("pid") is None else f"pid {node['pid']}"
        who = f"node {clean(node['node'])}" if node["node"] else node.get("kind", "node")
        return look.style.ERROR(f"{who} ({pid}) lives and does not answer: stopped, or busy")
    hammer = node.get("hammer_in")
    then = "" if hammer is None else f", hammer in {duration(hammer)}"
    since = f"since {moment(node['since'])} ({duration(now - node['since'])})"
    title = f"{node['kind']} {node['node']}, pid {node['pid']} on {node['host']}, {node['phase']}{then}, {since}"
    lines = [look.heading(clean(title))]
    rows = [line for row, depth in _with_depths(node["processes"]) for line in _lines(row, depth, now)]
    lines.append(render(_COLUMNS, rows, look.screen) if rows else "nothing runs")
    if node.get("left_out"):
        lines.append(f"and {plural(node['left_out'], 'more process', 'more processes')}")
    return "\n".join(lines)


def _with_depths(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    depths: dict[str, int] = {}
    for row in rows:
        depths[row["id"]] = depths.get(row["parent"], -1) + 1
    return [(row, depths[row["id"]]) for row in rows]


def _lines(row: dict[str, Any], depth: int, now: float) -> list[list[str]]:
    """A line of the table for the process itself, and one for each command and for its stop."""
    tries = f" (attempt {row['attempt'] + 1})" if row.get("attempt") else ""
    kind = " ".join(filter(None, (row["kind"], "system" if row["system"] else "")))
    pid = str(row.get("pid", ""))
    indent = "  " * depth
    lines = [[row["id"], indent + row["description"] + tries, kind, duration(now - row["since"]), progress(row), pid]]
    lines += [["", f"{indent}  $ {one['command']}", "", "", "", str(one["pid"])] for one in row["commands"]]
    if row["stop"] is not None:
        lines.append(["", f"{indent}  {ladder(row['stop'], now)}", "", "", "", ""])
    return lines


def progress(row: dict[str, Any]) -> str:
    """``[####......] 40 % checking``; without a total how much is done."""
    said = row["progress"]
    if said is None:
        return ""
    done, total = said["done"], said["total"]
    if done is None or not total or total < 0:
        words = ["" if done is None else f"{done:g}"]
    else:
        part = min(1.0, max(0.0, done / total))
        full = int(part * _BAR)
        words = [f"[{'#' * full}{'.' * (_BAR - full)}] {int(part * 100)} %"]
    return " ".join(filter(None, [*words, said["step"]]))


def ladder(stop: dict[str, Any], now: float) -> str:
    """``asked 0.4 s ago by ada: wrong list; stopping for 0.3 s``."""
    verb = {"timeout": "out of time", "shutdown": "shut down"}.get(stop["reason"], "asked")
    words = f"{verb} {duration(max(0.0, now - stop['asked_at']))} ago"
    if stop["by"]:
        words += f" by {stop['by']}"
    if stop["note"]:
        words += f": {stop['note']}"
    if stop["stopping_at"] is not None:
        words += f"; stopping for {duration(max(0.0, now - stop['stopping_at']))}"
    if stop["killed_at"] is not None:
        words += f"; killed {duration(max(0.0, now - stop['killed_at']))} ago"
    return words


PROCESSES = Subcommand(
    "what runs now, everywhere: jobs, requests, commands and their subprocesses", KEYS, run_processes
)
