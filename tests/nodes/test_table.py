"""What this OS process publishes, and how it obeys."""

from __future__ import annotations

import json
import os
import socket
import time
from decimal import Decimal
from typing import Any

import pytest

import django_graceful
from django_graceful import process
from django_graceful.lifecycle import Node, Phase
from django_graceful.nodes import node_name, table
from django_graceful.processes import Process, enter, leave


def test_a_node_says_who_and_where_it_is() -> None:
    found = table.describe("web")
    assert found.pop("since") <= time.time()
    assert found == {
        "node": node_name(),
        "kind": "web",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "phase": "running",
        "version": django_graceful.__version__,
        "processes": [],
        "left_out": 0,
    }


def test_a_row_has_all_there_is_to_know() -> None:
    with process("Rebuild", kind="command", system=True) as one:
        assert table.row(one) == {
            "id": one.id,
            "description": "Rebuild",
            "kind": "command",
            "since": one.since,
            "parent": None,
            "progress": None,
            "commands": [],
            "system": True,
            "stop": None,
        }
        one.progress(3, 12, "page three")
        one.commands[4711] = "git gc"
        one.cancel(by="ada", note="wrong list")
        found = table.row(one)
        assert found["progress"] == {"done": 3, "total": 12, "step": "page three"}
        assert found["commands"] == [{"pid": 4711, "command": "git gc"}]
        asked_at = found["stop"].pop("asked_at")
        assert one.since <= asked_at <= time.time()
        assert found["stop"] == {
            "reason": "cancel",
            "by": "ada",
            "note": "wrong list",
            "stopping_at": None,
            "killed_at": None,
        }


def test_rows_come_with_parents_before_their_children_and_oldest_first() -> None:
    with process("a") as a:
        for name in ("b", "c"):
            enter(Process(name, a))
        first = a.children[0]
        enter(Process("below b", first))
        rows = table.describe("")["processes"]
        other = Process("z")
        enter(other)
        assert [row["description"] for row in table.describe("")["processes"]] == ["a", "b", "below b", "c", "z"]
        leave(other)
        assert [row["description"] for row in rows] == ["a", "b", "below b", "c"]
        assert [row["parent"] for row in rows] == [None, a.id, first.id, a.id]


def test_what_is_beyond_the_limit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 3)
    with process("root") as root:
        for n in range(5):
            enter(Process(str(n), root))
        found = table.describe("web")
    assert [row["description"] for row in found["processes"]] == ["root", "0", "1"]
    assert found["left_out"] == 3


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [
        (1, None, (1, None)),
        (0.5, 2.0, (0.5, 2)),
        (Decimal("1.5"), Decimal(3), (1.5, 3)),
        (float("nan"), float("inf"), (None, None)),
        (10**400, "many", (None, None)),
    ],
)
def test_progress_is_json_whatever_a_site_counts_in(done: Any, total: Any, shown: tuple[Any, Any]) -> None:
    with process("counting") as one:
        one.progress(done, total)
        found = table.row(one)["progress"]
    assert (found["done"], found["total"]) == shown
    json.dumps(found, allow_nan=False)


def test_a_description_may_be_any_object_with_words() -> None:
    class Lazy:
        def __str__(self) -> str:
            return "words \udcff"

    with process(Lazy()) as one:  # type: ignore[arg-type]
        found = table.row(one)
    assert json.loads(json.dumps(found))["description"] == "words \udcff"


def test_cancel_is_obeyed_wherever_it_is_in_the_tree() -> None:
    with process("a") as a, process("b") as b:
        assert table.obey({"cancel": b.id, "by": "ada", "note": "why"}) == {"reply": "asked"}
        assert b.stop is not None
        assert (b.stop.reason, b.stop.by, b.stop.note) == ("cancel", "ada", "why")
        assert a.stop is None


def test_what_is_not_here_is_unknown_and_what_is_the_systems_is_refused() -> None:
    with process("a", system=True) as a:
        assert table.obey({"cancel": a.id}) == {"reply": "system"}
        assert a.stop is None
        assert table.obey({"cancel": f"{node_name()}.0"}) == {"reply": "unknown"}
        assert table.obey({}) == {"reply": "unknown"}
    assert table.obey({"cancel": a.id}) == {"reply": "unknown"}


def test_a_process_that_has_left_is_not_listed() -> None:
    made = Process("x")
    enter(made)
    leave(made)
    assert table.find(made.id) is None
    assert table.describe("")["processes"] == []


def test_a_node_shows_the_last_moment_of_its_life_that_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Node()
    monkeypatch.setattr(table, "node", mine)
    phases = [table.describe("web")["phase"]]
    for moment in (Phase.DRAINING, Phase.HAMMER, Phase.TERMINATE):
        mine.reach(moment, "a test")
        phases.append(table.describe("web")["phase"])
    assert phases == ["running", "draining", "hammer", "terminate"]
