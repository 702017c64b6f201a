from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_graceful.exceptions import StoreUnavailable
from django_graceful.items import Outcome
from django_graceful.stores import get_store
from django_graceful.stores.base import Ending
from testproject.work import queues
from testproject.work.models import Job
from testproject.work.queues import failing, flaky, slow


@pytest.fixture
def owner() -> Any:
    """A runner in this process, as far as the store can tell; the test leases and finishes."""
    found = get_store().own()
    yield found
    found.close()


@pytest.fixture
def desk(owner: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the site's views reach instead of the control socket, which nobody serves while a test blocks."""
    from contextlib import nullcontext

    monkeypatch.setattr(type(get_store()), "admin", lambda *_, **__: nullcontext(owner))
    return owner


def test_the_first_button_queues_a_thousand_jobs(visit: Any, waiting: Any) -> None:
    page = visit("/work/", {"kind": "tiny"}, to="/work/push/")
    assert "1000 tiny jobs are queued." in page.text
    assert waiting("tiny") == [{"n": n} for n in range(1000)]


@pytest.mark.parametrize("kind", ["slow", "flaky", "failing"])
def test_the_other_buttons_queue_one_job_and_list_it(visit: Any, waiting: Any, kind: str) -> None:
    page = visit("/work/", {"kind": kind}, to="/work/push/")
    job = Job.objects.get()
    assert waiting(kind) == [{"job": job.pk}]
    assert f'data-job="{job.pk}"' in page.text


def test_an_unknown_kind_of_work_is_not_found(visit: Any) -> None:
    assert visit("/work/", {"kind": "evil"}, to="/work/push/").status_code == 404


def test_without_a_runner_the_page_says_so_and_jobs_are_kept(visit: Any, client: Client) -> None:
    page = visit("/work/", {"kind": "slow"}, to="/work/push/")
    assert "<b>No runner answers.</b>" in page.text
    state = client.get("/work/state.json").json()
    assert state["runner"] is False
    assert state["problem"]
    assert [job["state"] for job in state["jobs"]] == ["unknown"]


def test_with_a_runner_the_state_counts_each_queue(visit: Any, client: Client, desk: Any) -> None:
    visit("/work/", {"kind": "tiny"}, to="/work/push/")
    state = client.get("/work/state.json").json()
    rows = {row["name"]: row["counts"] for row in state["queues"]}
    assert state["runner"] is True
    assert rows["tiny"]["waiting"] == 1000
    assert rows["slow"]["waiting"] == 0
    assert list(rows["tiny"]) == ["waiting", "scheduled", "retrying", "running", "dead", "cancelled", "done"]
    assert 'data-banner role="status" hidden' in client.get("/work/").text


def test_a_job_is_shown_as_what_it_is_until_it_is_done(visit: Any, client: Client, desk: Any) -> None:
    visit("/work/", {"kind": "slow"}, to="/work/push/")

    def state() -> tuple[str, bool, bool]:
        (job,) = client.get("/work/state.json").json()["jobs"]
        return job["state"], job["cancellable"], job["retryable"]

    assert state() == ("waiting", True, False)
    desk.prepare()
    (lease,) = desk.lease("slow", 1, "a worker")
    assert state() == ("running", True, False)
    desk.finish([lease.execution])
    assert state() == ("done", False, False)


def test_a_dead_job_can_be_tried_again_from_the_page(visit: Any, client: Client, desk: Any) -> None:
    visit("/work/", {"kind": "failing"}, to="/work/push/")
    desk.prepare()
    (lease,) = desk.lease("failing", 1, "a worker")
    desk.finish(endings=[Ending(lease.execution, Outcome.DEAD, reason="three times")])
    (job,) = client.get("/work/state.json").json()["jobs"]
    assert (job["state"], job["retryable"]) == ("dead", True)
    assert "The job waits again." in visit("/work/", {}, to=f"/work/job/{job['pk']}/retry/").text
    assert client.get("/work/state.json").json()["jobs"][0]["state"] == "waiting"


def test_a_waiting_job_can_be_cancelled_from_the_page(visit: Any, client: Client, desk: Any) -> None:
    visit("/work/", {"kind": "slow"}, to="/work/push/")
    job = Job.objects.get()
    visit("/work/", {}, to=f"/work/job/{job.pk}/cancel/")
    assert client.get("/work/state.json").json()["jobs"][0]["state"] == "cancelled"


def test_cancelling_without_a_runner_tells_the_visitor_why_it_can_not_be(visit: Any) -> None:
    visit("/work/", {"kind": "slow"}, to="/work/push/")
    page = visit("/work/", {}, to=f"/work/job/{Job.objects.get().pk}/cancel/")
    assert page.status_code == 200
    assert "This did not work:" in page.text


def test_a_store_that_can_not_be_written_is_an_answer_and_leaves_no_job(
    visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise StoreUnavailable("the disk is away")

    monkeypatch.setattr(type(get_store()), "push", refuse)
    page = visit("/work/", {"kind": "slow"}, to="/work/push/")
    assert page.status_code == 200
    assert "This did not work: the disk is away" in page.text
    assert not Job.objects.exists()


def test_the_flaky_job_fails_twice_and_then_works() -> None:
    job = Job.objects.create(kind="flaky")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            flaky({"job": job.pk})
    flaky({"job": job.pk})
    job.refresh_from_db()
    assert (job.tries, job.percent) == (3, 100)


def test_the_hopeless_job_fails_each_time() -> None:
    job = Job.objects.create(kind="failing")
    with pytest.raises(ValueError, match="never works"):
        failing({"job": job.pk})
    assert failing.options.max_attempts == 3


def test_the_slow_job_notes_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "SLOW", 0)
    job = Job.objects.create(kind="slow")
    slow({"job": job.pk})
    job.refresh_from_db()
    assert (job.tries, job.percent) == (1, 100)
