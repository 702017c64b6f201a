"""Real OS processes see and cancel each other, and nobody's death, freeze or fork is in the way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from django_graceful import nodes
from django_graceful.items import State
from django_graceful.stores import get_store
from tests.harness import Site, until
from tests.nodes.conftest import Child
from tests.processes.conftest import Census
from tests.processes.test_endings import family
from tests.site.nested import crowd, nested, plain, straying

pytestmark = pytest.mark.process


def rows() -> dict[str, dict[str, Any]]:
    return {row["id"]: row for node in nodes.running() for row in node.get("processes", [])}


def listed(process_id: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: rows().get(process_id), f"{process_id} to be listed")
    return found


def test_a_process_elsewhere_is_listed_with_its_commands_without_credentials(
    child: Callable[..., Child], census: Census
) -> None:
    one = child(*census.sleeper(), "--password", "hunter22")
    row = until(lambda: (found := rows()[one.id]) and found["commands"] and found, "the command")
    assert row["description"] == "the child's work"
    (command,) = row["commands"]
    assert "sleep 600" in command["command"]
    assert "hunter22" not in json.dumps(row)
    assert psutil.Process(command["pid"]).ppid() == one.process.pid


def test_cancelling_it_from_here_ends_its_command_with_all_grandchildren(
    child: Callable[..., Child], census: Census
) -> None:
    lines = [family(census.name, way) for way in ("child", "deaf child", "session", "deaf session")]
    one = child("sh", "-c", "\n".join(["trap '' TERM", *lines, "while :; do sleep 0.1; done", f": {census.name}"]))
    until(lambda: len(census.alive()) == 6, "the family to be complete, with the child that has the name too")
    begin = time.monotonic()
    assert nodes.cancel(one.id, by="ada", reason="wrong list") == "asked"
    stop = listed(one.id)["stop"]
    assert (stop["reason"], stop["by"], stop["note"]) == ("cancel", "ada", "wrong list")
    assert one.says() == "Cancelled ada"
    assert [left.pid for left in census.alive() if left.pid != one.process.pid] == []
    assert time.monotonic() - begin < 5 + 5, "KILL_AFTER, and some"
    assert one.process.wait(30) == 0


def test_a_node_that_ends_by_itself_removes_its_socket(child: Callable[..., Child], store_path: Path) -> None:
    one = child("true")
    assert one.process.wait(30) == 0
    assert os.listdir(store_path / "nodes") == []
    assert nodes.cancel(one.id) == "unknown"


def test_a_node_that_is_killed_vanishes_and_its_socket_is_removed(
    child: Callable[..., Child], store_path: Path
) -> None:
    one, other = child(), child()
    assert set(rows()) == {one.id, other.id}
    one.send(signal.SIGKILL)
    one.process.wait(30)
    assert set(rows()) == {other.id}
    assert os.listdir(store_path / "nodes") == [f"{other.node}.sock"]
    assert nodes.cancel(one.id) == "unknown"


def test_a_stopped_node_is_silent_does_not_hold_the_others_up_and_obeys_when_it_goes_on(
    child: Callable[..., Child],
) -> None:
    one, other = child(), child()
    one.send(signal.SIGSTOP)
    until(lambda: psutil.Process(one.process.pid).status() == psutil.STATUS_STOPPED, "the child to be stopped")
    begin = time.monotonic()
    found = nodes.running()
    assert time.monotonic() - begin < 1
    assert {"node": one.node, "pid": one.process.pid, "silent": True} in found
    assert other.id in {row["id"] for node in found for row in node.get("processes", [])}
    with pytest.raises(Exception, match="may still do what was ordered"):
        nodes.cancel(one.id, by="ada")
    one.send(signal.SIGCONT)
    assert one.says() == "Cancelled ada"
    assert other.id in rows()


def test_jobs_are_a_tree_over_runner_and_worker_and_plain_ones_have_no_node_of_their_own(
    site: Site, census: Census
) -> None:
    runner = site.runner().serving()
    plain.push({"seconds": 600})
    until(lambda: len(rows()) == 1, "the plain job to run")
    assert not os.path.exists(site.store / "nodes")
    item = nested.push({"n": 1, "argv": census.sleeper()})
    site.said("inner 1")
    job, inner = (line.split()[2] for line in site.lines()[-2:])
    until(lambda: listed(inner)["commands"], "the command")
    (node,) = nodes.running()
    assert (node["kind"], node["pid"], node["phase"], node["workers"]["busy"]) == ("runner", runner.pid, "running", 2)
    assert [row["parent"] for row in node["processes"] if row["id"] in (job, inner)] == [None, job]
    found = rows()
    assert found[job]["progress"] == {"done": 1, "total": 4, "step": "begun"}
    assert (found[job]["queue"], found[job]["item"], found[job]["attempt"]) == ("nested", item, 0)
    assert psutil.Process(found[job]["pid"]).ppid() in {p.pid for p in psutil.Process(runner.pid).children()}
    assert found[job]["stop"] is found[inner]["stop"] is None
    text = site.manage("graceful", "processes").stdout
    assert f"runner {node['node']}, pid {runner.pid} on" in text
    lines = text.splitlines()
    where = next(n for n, line in enumerate(lines) if line.startswith(job))
    assert "[##........] 25 % begun" in lines[where]
    assert lines[where + 1].startswith(inner)
    assert f"$ {census.sleeper()[0]} -c" in lines[where + 2]
    runner.send(signal.SIGQUIT)
    assert runner.end() == 0
    assert nodes.running() == []


@pytest.mark.parametrize("which", ["job", "inner"])
def test_a_job_and_what_is_below_it_are_cancelled_by_their_ids(site: Site, census: Census, which: str) -> None:
    runner = site.runner().serving()
    item = nested.push({"n": 1, "argv": census.sleeper()})
    site.said("inner 1")
    process_id = next(line for line in site.lines() if line.startswith(which)).split()[2]
    listed(process_id)
    census.grows_to(1)
    assert nodes.cancel(process_id, by="ada", reason="wrong list") == "asked"
    site.said("caught 1 Cancelled")
    runner.says("cancelled")
    assert census.alive() == []
    until(lambda: not rows(), "the job to be gone")
    assert nodes.cancel(process_id) == "unknown"
    with get_store().admin() as admin:
        found = admin.get(item)
    assert found is not None
    assert (found.state, found.item.attempt) == (State.CANCELLED, 0)
    assert (found.detail["by"], found.detail["reason"]) == ("ada", "wrong list")
    nested.push({"n": 2, "argv": ["true"]})
    site.said("inner 2")
    assert runner.stop() == 0


def test_a_job_that_does_not_stop_shows_who_asked_and_how_far_the_ladder_came(site: Site) -> None:
    from tests.site.queues import stubborn

    runner = site.runner(env={"GRACEFUL_TEST_EXTRA": '{"CANCEL_GRACE": 2}'}).serving()
    stubborn.push({"n": 1})
    site.said("start 1")
    (job,) = rows()
    begin = time.time()
    assert nodes.cancel(job, by="ada", reason="wrong list") == "asked"
    stop = until(lambda: rows()[job]["stop"], "the wish to be acted on")
    assert (stop["reason"], stop["by"], stop["note"]) == ("cancel", "ada", "wrong list")
    assert begin - 0.1 <= stop["asked_at"] <= stop["stopping_at"] <= time.time()
    until(lambda: job not in rows(), "the worker to be killed")
    assert runner.stop() == 0


def test_a_worker_that_is_a_node_ends_as_quietly_as_any_other(site: Site) -> None:
    runner = site.runner().serving()
    nested.push({"n": 1, "argv": ["true"]})
    site.said("inner 1")
    assert runner.stop() == 0
    assert not [line for line in runner.log if "WARNING" in line or "ERROR" in line], runner.log
    assert os.listdir(site.store / "nodes") == []


def test_of_several_jobs_in_one_worker_each_has_its_own_row_and_is_cancelled_alone(site: Site) -> None:
    runner = site.runner().serving()
    for n in range(3):
        crowd.push({"n": n})
    for n in range(3):
        site.said(f"crowd {n}")
    jobs = {line.split()[2] for line in site.lines()}
    until(lambda: {name for name, row in rows().items() if row["progress"]} == jobs, "their progress")
    (node,) = nodes.running()
    assert len({row["pid"] for row in node["processes"]}) == 1
    first = min(jobs)
    assert nodes.cancel(first, by="ada") == "asked"
    until(lambda: first not in rows(), "the first to be gone")
    assert set(rows()) == jobs - {first}
    runner.send(signal.SIGQUIT)
    assert runner.end() == 0


def test_what_a_job_left_behind_does_not_keep_it_listed(site: Site) -> None:
    """A thread that the job did not wait for goes on telling its progress."""
    runner = site.runner().serving()
    straying.push({})
    site.said("strayed")
    until(lambda: nodes.running() and not rows(), "the job to be gone")
    site.said("strayed again")
    assert rows() == {}
    assert runner.stop() == 0
