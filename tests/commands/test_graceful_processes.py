"""``graceful processes``: the table of what runs, for people and for programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_graceful import process
from django_graceful.console.processes import ladder, node_text, progress
from django_graceful.console.report import Look
from django_graceful.nodes import node_name
from tests.commands.conftest import Console

NOW = 1_000_000.0


def plain() -> Look:
    from django.core.management.color import no_style

    return Look(None, no_style())


def row(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "description": f"what {name} does",
        "kind": "",
        "since": NOW - 90,
        "parent": None,
        "progress": None,
        "commands": [],
        "system": False,
        "stop": None,
    } | more


def node(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "node": "0a1b2c3d",
        "kind": "web",
        "host": "one",
        "pid": 4711,
        "phase": "running",
        "since": NOW - 3600,
        "version": "1",
        "processes": list(rows),
        "left_out": 0,
    } | more


def test_nothing_runs_without_nodes(graceful: Console, store_path: Path) -> None:
    assert graceful.json("processes") == {"nodes": []}
    assert graceful("processes").startswith("Nothing runs")


def test_what_runs_is_listed_without_a_runner_for_programs_and_people(graceful: Console, store_path: Path) -> None:
    with process("Rebuild", kind="command") as outer, process("page one") as inner:
        inner.progress(1, 2, "half")
        outer.cancel(by="ada", note="wrong list")
        (found,) = graceful.json("processes")["nodes"]
        assert (found["node"], found["pid"]) == (node_name(), os.getpid())
        assert [one["id"] for one in found["processes"]] == [outer.id, inner.id]
        lines = graceful("processes").splitlines()
    assert lines[0].startswith(f"command {node_name()}, pid {os.getpid()} on ")
    assert lines[1].split() == ["ID", "WHAT", "KIND", "SINCE", "PROGRESS", "PID"]
    assert lines[2].startswith(f"{outer.id} ")
    assert " Rebuild " in lines[2]
    assert lines[3].strip().startswith("asked ")
    assert lines[3].endswith("ago by ada: wrong list")
    assert "  page one" in lines[4]
    assert lines[4].endswith("[#####.....] 50 % half")


def test_only_the_named_store_is_looked_at(graceful: Console, tmp_path: Path, settings: Any) -> None:
    stores = {name: {"BACKEND": "leveldb", "PATH": tmp_path / name} for name in ("default", "other")}
    settings.GRACEFUL = {"STORES": stores}
    with process("Rebuild"):
        for sock in (tmp_path / "other" / "nodes").iterdir():
            sock.unlink()
        assert len(graceful.json("processes", "--store", "default")["nodes"]) == 1
        assert graceful.json("processes", "--store", "other") == {"nodes": []}


def test_a_store_that_can_not_be_looked_at_is_an_error(graceful: Console, tmp_path: Path, settings: Any) -> None:
    (tmp_path / "file").touch()
    settings.GRACEFUL = {"STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path / "file"}}}
    with pytest.raises(CommandError, match="can not see the nodes"):
        graceful("processes")


def test_a_node_is_a_heading_and_a_tree() -> None:
    job = row("d.x1", kind="job", pid=5000, attempt=2, commands=[{"pid": 5001, "command": "git gc"}])
    below = row("w.1", parent="d.x1", since=NOW - 2, system=True)
    lines = node_text(
        node(job, below, row("d.x2"), kind="runner", hammer_in=12.4, left_out=3), NOW, plain()
    ).splitlines()
    assert lines[0].startswith("runner 0a1b2c3d, pid 4711 on one, running, hammer in 12 s, since ")
    assert lines[0].endswith("(1 h)")
    assert [line.split() for line in lines[2:6]] == [
        ["d.x1", "what", "d.x1", "does", "(attempt", "3)", "job", "1", "m", "30", "s", "5000"],
        ["$", "git", "gc", "5001"],
        ["w.1", "what", "w.1", "does", "system", "2.0", "s"],
        ["d.x2", "what", "d.x2", "does", "1", "m", "30", "s"],
    ]
    column = lines[1].index("WHAT")
    assert [len(line[column:]) - len(line[column:].lstrip()) for line in lines[2:6]] == [0, 2, 2, 0]
    assert lines[6] == "and 3 more processes"


def test_an_idle_node_and_a_silent_one_say_so() -> None:
    assert node_text(node(), NOW, plain()).endswith("\nnothing runs")
    silent = {"node": "0a1b2c3d", "pid": 4711, "silent": True}
    assert node_text(silent, NOW, plain()) == "node 0a1b2c3d (pid 4711) lives and does not answer: stopped, or busy"
    runner = {"node": "", "kind": "runner", "pid": None, "silent": True}
    assert node_text(runner, NOW, plain()).startswith("runner (pid unknown) lives")


def test_nothing_that_was_said_controls_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\n"
    stop = {"reason": "cancel", "by": evil, "note": evil, "asked_at": NOW, "stopping_at": None, "killed_at": None}
    shown = row("d.x1", description=evil, commands=[{"pid": 1, "command": evil}], stop=stop)
    shown["progress"] = {"done": 1, "total": 2, "step": evil}
    text = node_text(node(shown, host=evil, phase=evil), NOW, plain())
    assert text.count("owned") == 7
    assert "\x1b" not in text
    assert len(text.splitlines()) == 5


def test_a_terminal_is_not_overrun(graceful: Console, store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with process("a long description " * 20):
        lines = graceful("processes", terminal=True, no_color=True).splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert "…" in lines[2]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, ""),
        ({"done": 0, "total": 10, "step": ""}, "[..........] 0 %"),
        ({"done": 4, "total": 10, "step": "four"}, "[####......] 40 % four"),
        ({"done": 12, "total": 10, "step": ""}, "[##########] 100 %"),
        ({"done": -1, "total": 10, "step": ""}, "[..........] 0 %"),
        ({"done": 9.999, "total": 10, "step": ""}, "[#########.] 99 %"),
        ({"done": 1234, "total": None, "step": "rows"}, "1234 rows"),
        ({"done": 3, "total": 0, "step": ""}, "3"),
        ({"done": 3, "total": -5, "step": ""}, "3"),
        ({"done": None, "total": None, "step": "soon"}, "soon"),
    ],
)
def test_progress_is_a_bar_where_there_is_a_total(said: Any, shown: str) -> None:
    assert progress({"progress": said}) == shown


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "asked 0.4 s ago"),
        ({"by": "ada"}, "asked 0.4 s ago by ada"),
        ({"by": "ada", "note": "wrong list"}, "asked 0.4 s ago by ada: wrong list"),
        ({"stopping_at": NOW - 0.3}, "asked 0.4 s ago; stopping for 0.3 s"),
        ({"stopping_at": NOW - 0.3, "killed_at": NOW - 0.1}, "asked 0.4 s ago; stopping for 0.3 s; killed 0.1 s ago"),
        ({"reason": "timeout"}, "out of time 0.4 s ago"),
        ({"reason": "shutdown"}, "shut down 0.4 s ago"),
        ({"asked_at": NOW + 5}, "asked 0.0 s ago"),
    ],
)
def test_the_ladder_is_told_step_by_step(more: Any, shown: str) -> None:
    stop = {"reason": "cancel", "by": "", "note": "", "asked_at": NOW - 0.4, "stopping_at": None, "killed_at": None}
    assert ladder(stop | more, NOW) == shown
