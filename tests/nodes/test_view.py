"""All nodes as people see them: a runner and its workers are one tree."""

from __future__ import annotations

from typing import Any

import pytest

from django_graceful.nodes.view import merge, sound

Json = dict[str, Any]


def row(name: str, parent: str | None = None, **more: Any) -> Json:
    return {"id": name, "description": name, "parent": parent, "progress": None, "commands": []} | more


def node(name: str, kind: str, *rows: Json, since: float = 1.0) -> Json:
    return {"node": name, "kind": kind, "since": since, "processes": list(rows)}


def ids(nodes: list[Json]) -> list[list[str]]:
    return [[one["node"], *(row["id"] for row in one.get("processes", []))] for one in nodes]


def test_a_jobs_row_gets_what_its_worker_knows_and_keeps_what_the_runner_knows() -> None:
    job = row("d.x1", stop={"by": "ada"}, queue="mail", since=5.0)
    own = row("d.x1", stop={"by": ""}, progress={"done": 1}, commands=[{"pid": 3}], since=6.0)
    ((merged,),) = (one["processes"] for one in merge([node("w", "worker", own), node("r", "runner", job)]))
    assert merged == job | {"progress": {"done": 1}, "commands": [{"pid": 3}]}


def test_what_a_worker_has_below_a_job_follows_it() -> None:
    worker = node("w", "worker", row("d.x1"), row("w.1", "d.x1"), row("w.2", "w.1"), row("w.3"))
    runner = node("r", "runner", row("d.x1"), row("d.x2"))
    assert ids(merge([worker, runner])) == [["r", "d.x1", "w.1", "w.2", "d.x2"], ["w", "w.3"]]


def test_a_job_that_only_its_worker_shows_yet_stays_with_the_worker() -> None:
    worker = node("w", "worker", row("d.x9"), row("w.1", "d.x9"))
    assert ids(merge([worker, node("r", "runner", row("d.x1"))])) == [["r", "d.x1"], ["w", "d.x9", "w.1"]]


def test_without_a_runner_workers_are_nodes_of_their_own_and_idle_ones_are_left_out() -> None:
    assert ids(merge([node("w", "worker", row("d.x1")), node("v", "worker")])) == [["w", "d.x1"]]


def test_idle_web_processes_and_runners_are_listed() -> None:
    assert ids(merge([node("a", "web"), node("r", "runner")])) == [["r"], ["a"]]


def test_a_node_of_two_stores_is_listed_once() -> None:
    assert ids(merge([node("a", "web", row("a.1"))] * 2)) == [["a", "a.1"]]


def test_runners_come_first_and_then_the_oldest() -> None:
    nodes = [node("b", "web", since=3), node("a", "command", since=2), node("r", "runner", since=9)]
    assert [one["node"] for one in merge(nodes)] == ["r", "a", "b"]


def test_nodes_that_do_not_answer_are_kept() -> None:
    silent = {"node": "s", "pid": 3, "silent": True}
    assert merge([silent, node("r", "runner")])[1] == silent


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"node": 3, "processes": []},
        {"node": "a"},
        {"node": "a", "processes": {}},
        {"node": "a", "processes": [3]},
        {"node": "a", "processes": [{}]},
        {"node": "a", "processes": [{"id": None}]},
    ],
)
def test_what_is_no_node_is_left_out(answer: Any) -> None:
    assert not sound(answer)
    assert merge([answer]) == []


def test_nothing_that_was_given_is_changed() -> None:
    given = [node("w", "worker", row("d.x1", progress={"done": 1})), node("r", "runner", row("d.x1"))]
    merge(given)
    assert given == [node("w", "worker", row("d.x1", progress={"done": 1})), node("r", "runner", row("d.x1"))]


def test_a_stand_in_is_shown_only_in_the_place_of_a_silent_node() -> None:
    silent, deputy = {"node": "c", "pid": 3, "silent": True}, node("c~", "command", row("c.1"))
    assert merge([deputy, silent]) == [deputy | {"node": "c"}]
    command = node("c", "command", row("c.1"), row("c.2", "c.1"))
    assert merge([deputy, command]) == [command]
    assert merge([deputy]) == []


def test_a_stand_in_that_knows_nothing_leaves_the_silent_node_silent() -> None:
    silent, mute = {"node": "c", "pid": 3, "silent": True}, {"node": "c~", "pid": 2, "silent": True}
    assert merge([silent, mute]) == [silent]
    assert merge([silent, node("c~", "command")]) == [silent]
