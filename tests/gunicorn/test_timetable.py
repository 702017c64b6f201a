"""When a worker that is asked to stop does what: decisions without processes and clocks."""

from __future__ import annotations

import math

import pytest

from django_graceful.gunicorn.kinds import Kind, kind_of
from django_graceful.gunicorn.timetable import HURRY, Cause, Limits, Step, Timetable, plan

LIMITS = Limits(graceful=30, kill_after=5)


def test_nothing_is_due_for_a_worker_that_nobody_has_asked() -> None:
    assert {Timetable().at(step) for step in Step} == {math.inf}


def test_a_worker_that_is_asked_drains_at_once_and_hammers_its_margin_before_the_end() -> None:
    table = plan(Cause.ASKED, 100, LIMITS)
    assert (table.drain_at, table.hammer_at) == (100, 127.5)
    assert table.hammer_at < table.ask_at < table.kill_at < table.exit_at < 130


def test_a_short_limit_still_leaves_half_of_it_to_running_work() -> None:
    assert Limits(graceful=4, kill_after=5).hammer_after == 2
    assert Limits(graceful=1, kill_after=5).hammer_after == 0.5


@pytest.mark.parametrize("cause", [Cause.HURRIED, Cause.BLOCKED])
def test_int_quit_and_abrt_hammer_at_once(cause: Cause) -> None:
    table = plan(cause, 100, LIMITS)
    assert (table.drain_at, table.hammer_at) == (100, 100)


def test_a_hurried_worker_is_gone_before_the_two_seconds_of_gunicorn() -> None:
    assert plan(Cause.HURRIED, 100, LIMITS).exit_at == 100 + HURRY < 102


def test_a_blocked_worker_has_kill_after_and_a_second_for_its_cleanup() -> None:
    table = plan(Cause.BLOCKED, 100, LIMITS)
    assert (table.kill_at, table.exit_at) == (103, 106)


@pytest.mark.parametrize(
    ("kill_after", "graceful", "seconds"), [(0.1, 30, 0.1), (5, 30, 1.1), (5, 200, 1.1), (5, 2, 0.4)]
)
def test_subprocesses_have_kill_after_or_half_of_what_is_left(
    kill_after: float, graceful: float, seconds: float
) -> None:
    table = plan(Cause.ASKED, 0, Limits(graceful, kill_after))
    assert table.kill_at - table.hammer_at == pytest.approx(seconds)


def test_a_worker_that_sees_late_that_it_is_idle_kills_sooner() -> None:
    quick, slow = (plan(Cause.ASKED, 0, Limits(30, 5, slack)) for slack in (0, 1))
    assert (quick.hammer_at, quick.exit_at) == (slow.hammer_at, slow.exit_at)
    assert slow.kill_at == pytest.approx(quick.kill_at - 0.5)


def test_no_limit_at_all_means_at_once() -> None:
    for cause in (Cause.ASKED, Cause.HURRIED):
        table = plan(cause, 7, Limits(graceful=0, kill_after=5))
        assert {table.at(step) for step in Step} == {7}


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("graceful", [0, 0.5, 1, 2, 5, 30, 300])
@pytest.mark.parametrize("slack", [0, 1, 2])
@pytest.mark.parametrize("kill_after", [0, 0.1, 5, 60])
def test_steps_come_in_their_order(cause: Cause, graceful: float, slack: float, kill_after: float) -> None:
    table = plan(cause, 50, Limits(graceful, kill_after, slack))
    times = [table.at(step) for step in Step]
    assert times == sorted(times)
    assert times[0] == 50


def test_a_second_cause_only_makes_things_sooner() -> None:
    asked, hurried = plan(Cause.ASKED, 100, LIMITS), plan(Cause.HURRIED, 110, LIMITS)
    both = asked.sooner(hurried)
    assert (both.drain_at, both.hammer_at, both.exit_at) == (100, 110, 110 + HURRY)
    late = asked.sooner(plan(Cause.ASKED, 129.5, LIMITS)).sooner(plan(Cause.HURRIED, 129.6, LIMITS))
    assert late == asked


def made(name: str, module: str, base: type = object) -> type:
    return type(name, (base,), {"__module__": module})


@pytest.mark.parametrize(
    ("worker_class", "kind"),
    [
        (made("SyncWorker", "gunicorn.workers.sync"), Kind.SYNC),
        (made("ThreadWorker", "gunicorn.workers.gthread"), Kind.GTHREAD),
        (made("GeventPyWSGIWorker", "gunicorn.workers.ggevent"), Kind.GEVENT),
        (made("ASGIWorker", "gunicorn.workers.gasgi"), Kind.ASGI),
        (made("TornadoWorker", "gunicorn.workers.gtornado"), Kind.TORNADO),
        (made("UvicornWorker", "uvicorn_worker._workers"), Kind.UVICORN),
        (made("UvicornWorker", "uvicorn.workers"), Kind.UVICORN),
        (made("Own", "site.workers", made("ThreadWorker", "gunicorn.workers.gthread")), Kind.GTHREAD),
        (made("H11", "site.workers", made("UvicornWorker", "uvicorn.workers")), Kind.UVICORN),
        (made("Unknown", "site.workers"), Kind.SYNC),
    ],
)
def test_a_class_is_of_the_kind_that_it_derives_from(worker_class: type, kind: Kind) -> None:
    assert kind_of(worker_class) is kind
