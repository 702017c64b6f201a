"""``manage.py graceful`` and a real ``manage.py runqueues``, each a process of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.commands.test_graceful_looking import keys_of
from tests.harness import Site, until
from tests.site import queues

pytestmark = pytest.mark.process


@pytest.fixture
def registry() -> None:
    """Here the test site's own queues are declared."""


def ask(site: Site, *args: str, code: int = 0) -> Any:
    found = site.manage("graceful", *args, "--json")
    assert found.returncode == code, found.stdout + found.stderr
    return json.loads(found.stdout)


def test_status_shows_what_the_runner_runs_and_shutdown_waits_for_its_end(site: Site) -> None:
    runner = site.runner().serving()
    item = queues.slow.push({"n": 1, "seconds": 0.5})
    site.said("start 1")
    status = ask(site, "status")["stores"][0]
    assert set(status["runner"]) == {"pid", "phase", "since", "hammer_in", "workers", "running"}
    assert status["runner"]["pid"] == runner.pid
    assert status["runner"]["phase"] == "running"
    for run in status["runner"]["running"]:
        assert (run["queue"], run["item"]) == ("slow", item)
    text = site.manage("graceful", "status").stdout
    assert f"runner:     pid {runner.pid}, running, since" in text
    (ended,) = ask(site, "shutdown", "--wait")["stores"]
    assert (ended["pid"], ended["ended"]) == (runner.pid, True)
    assert ended["phase"] in ("draining", "terminate")
    assert runner.process.poll() == 0, "it has ended when the command returns"
    assert "end 1" in site.lines()
    after = ask(site, "status")["stores"][0]
    assert after["runner"] is None
    assert after["error"] is None


def test_a_running_job_is_cancelled_from_the_command_line(site: Site) -> None:
    site.runner().serving()
    item = queues.slow.push({"n": 1, "seconds": 60})
    site.said("start 1")
    assert ask(site, "cancel", item, "--reason", "enough")["items"][0]["reply"] == "asked"

    def cancelled() -> bool:
        (entry,) = ask(site, "items", "--id", item)["items"]
        return bool(entry["state"] == "cancelled" and entry["detail"]["reason"] == "enough" and not entry["errors"])

    until(cancelled, "the item to be cancelled")


def test_a_paused_queue_runs_after_it_is_resumed_and_flush_waits_for_that(site: Site) -> None:
    site.runner().serving()
    ask(site, "pause", "record")
    queues.record.push("held")
    failed = site.manage("graceful", "flush", "record", "--timeout", "20")
    assert failed.returncode == 1
    assert "queue record has 1 waiting and 0 running and is paused" in failed.stderr
    assert site.lines() == []
    ask(site, "resume", "record")
    assert ask(site, "flush", "record")["empty"] is True
    assert site.lines() == ["record held"]


def test_flush_without_a_runner_runs_what_is_there(site: Site) -> None:
    for n in range(5):
        queues.record.push(n)
    queues.record.push("later", delay=3600)
    answer = ask(site, "flush", "record")
    assert answer["empty"] is True
    assert answer["queues"][0]["scheduled"] == 1
    assert site.lines() == [f"record {n}" for n in range(5)]


def test_flush_without_a_runner_tells_the_jobs_to_stop_at_its_timeout(site: Site) -> None:
    queues.polite.push({"n": 1})
    found = site.manage("graceful", "flush", "polite", "--timeout", "3")
    assert "start 1" in site.lines(), found.stderr
    assert any(line.startswith("stopping 1") for line in site.lines()), found.stderr
    assert "queue polite" not in found.stderr, "it came to its safe point, so nothing is left"


def test_a_dead_item_is_retried_by_the_running_runner_at_once(site: Site) -> None:
    site.runner().serving()
    item = queues.verdict.push({"how": "discard"})

    def dead() -> bool:
        page = ask(site, "items", "verdict", "--state", "dead")["items"]
        return [entry["id"] for entry in page] == [item]

    until(dead, "the item to be dead")
    assert ask(site, "retry", "verdict", item)["count"] == 1
    until(lambda: site.lines().count("verdict discard") == 2, "the second run")


def test_the_json_of_a_real_runner_is_as_documented(site: Site) -> None:
    from django_graceful.console.overview import STATUS_KEYS

    site.runner().serving()
    queues.slow.push({"n": 1, "seconds": 60})
    site.said("start 1")
    (store,) = ask(site, "status")["stores"]
    (run,) = store["runner"]["running"]
    documented = keys_of(STATUS_KEYS)
    for part in (store, store["runner"], store["runner"]["workers"], run, store["items"]):
        assert set(part) - {"waiting", "scheduled", "retrying", "dead", "cancelled"} <= documented
