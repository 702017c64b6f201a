"""Schedules as a site writes them: decorators, settings, and what is wrong with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from django_graceful import Queue, cron, every, queue
from django_graceful.conf import Conf, Fault, get_conf, read
from django_graceful.schedule.registry import add, all_schedules, hook
from django_graceful.schedule.rules import Every, find_zone, make_cron
from django_graceful.schedule.spec import Missed, Schedule

STORES = {"default": {"BACKEND": "leveldb", "PATH": "/srv/queues"}}


def work(payload: Any) -> None:
    """A handler."""


def written(**entry: Any) -> tuple[Conf, list[Fault]]:
    return read({"STORES": STORES, "SCHEDULES": {"nightly": entry}}, zone="Europe/Berlin")


def fault(**entry: Any) -> str:
    conf, [found] = written(**entry)
    assert conf.schedules == {}
    assert found.hint
    return f"{found.where} {found.what}"


def messages(number: str) -> list[str]:
    return [str(found.msg) for found in run_checks() if found.id == f"django_graceful.{number}"]


def test_a_decorator_declares_a_schedule_and_gives_the_queue_back() -> None:
    found = every("10m")(queue("q")(work))
    assert isinstance(found, Queue)
    assert all_schedules() == {"q": Schedule("q", "q", Every(600))}


def test_several_stand_above_one_queue_by_different_names() -> None:
    @every(timedelta(hours=2), name="often", payload=[1], overlap=True, key="k")
    @cron("0 3 * * *", timezone="America/New_York", name="nightly", missed="once")
    @queue("q")
    def handler(payload: Any) -> None:
        """Nothing."""

    assert handler.name == "q"
    assert all_schedules() == {
        "nightly": Schedule("nightly", "q", make_cron("0 3 * * *", find_zone("America/New_York")), missed=Missed.ONCE),
        "often": Schedule("often", "q", Every(7200), [1], overlap=True, key="k"),
    }


def test_cron_reads_the_clocks_of_the_site_when_no_zone_is_said(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    cron("0 3 * * *")(queue("q")(work))
    assert str(all_schedules()["q"].rule) == "cron 0 3 * * * (Europe/Berlin)"


def test_the_same_again_as_at_a_reload_changes_nothing_and_another_of_the_name_is_an_error() -> None:
    declared = queue("q")(work)
    every(5)(declared)
    every(5)(declared)
    with pytest.raises(ImproperlyConfigured, match=r"two schedules are named 'q': every 5s .* every 6s .* name="):
        every(6)(declared)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": "soon"}, "schedule 'n': every must be a whole number"),
        ({"cron": "* * *"}, "schedule 'n': cron must be a cron expression"),
        ({"cron": "0 0 * * *", "timezone": "Mars"}, "schedule 'n': timezone must be the name of a time zone"),
        ({"every": 5, "timezone": "UTC"}, "schedule 'n': timezone goes with cron only"),
        ({}, "one of the two"),
        ({"every": 5, "cron": "* * * * *"}, "one of the two"),
        ({"every": 5, "missed": "twice"}, r"schedule 'n': missed must be one of 'skip', 'once', not 'twice'"),
        ({"every": 5, "missed": True}, "schedule 'n': missed"),
        ({"every": 5, "overlap": 1}, "schedule 'n': overlap must be one of True, False"),
        ({"every": 5, "payload": object()}, "schedule 'n': payload can not be kept"),
        ({"every": 5, "key": ""}, "schedule 'n': key"),
        ({"every": 5, "zone": "UTC"}, "schedule 'n'.*zone"),
    ],
)
def test_what_is_wrong_in_code_is_said_where_it_is_written(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        add("n", "q", **options)
    assert all_schedules() == {}


@pytest.mark.parametrize("name", ["", "x" * 101, "new\nline", 5])
def test_a_name_is_something_to_print(name: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="name must be 1 to 100 printable"):
        add(name, "q", every=5)


def test_a_decorator_above_something_else_is_an_error_and_a_hook_makes_it_none() -> None:
    class Task:
        """What another part of the project can push."""

    with pytest.raises(ImproperlyConfigured, match="stand above @queue"):
        every(5)(Task())
    with pytest.raises(ImproperlyConfigured, match="stand above @queue"):
        every(5)(work)
    hook(Task, lambda task, payload: ("tasks", {"task": "t", "args": payload}))
    task = Task()
    assert every(5, name="t", payload=[1])(task) is task
    assert all_schedules() == {"t": Schedule("t", "tasks", Every(5), {"task": "t", "args": [1]})}


def test_settings_say_the_same_in_upper_case() -> None:
    options = {"PAYLOAD": {"a": 1}, "MISSED": "once", "OVERLAP": True, "KEY": "k"}
    conf, faults = written(QUEUE="q", CRON="0 3 * * *", TIMEZONE="UTC", **options)
    assert faults == []
    rule = make_cron("0 3 * * *", find_zone("UTC"))
    assert conf.schedules == {"nightly": Schedule("nightly", "q", rule, {"a": 1}, Missed.ONCE, True, "k")}
    assert written(QUEUE="q", EVERY="1h")[0].schedules == {"nightly": Schedule("nightly", "q", Every(3600))}
    assert str(written(QUEUE="q", CRON="0 3 * * *")[0].schedules["nightly"].rule).endswith("(Europe/Berlin)")


def test_settings_replace_a_schedule_of_the_code(settings: Any) -> None:
    every(5)(queue("q")(work))
    settings.GRACEFUL = {"SCHEDULES": {"q": {"QUEUE": "q", "EVERY": "1d"}}}
    assert all_schedules() == {"q": Schedule("q", "q", Every(86_400))}


def test_what_is_wrong_in_the_settings_is_named() -> None:
    where = "GRACEFUL['SCHEDULES']['nightly']"
    assert fault(QUEUE="q", EVRY="5m") == f"{where} unknown key 'EVRY' (did you mean 'EVERY'?)"
    assert fault(EVERY="5m") == f"{where} QUEUE must be the name of a queue, not None"
    assert fault(QUEUE="q", EVERY="5x").startswith(f"{where} EVERY must be")
    assert fault(QUEUE="q", CRON="61 * * * *").startswith(f"{where} CRON must be")
    assert fault(QUEUE="q", CRON="* * * * *", TIMEZONE="Berlin").startswith(f"{where} TIMEZONE must be")
    assert fault(QUEUE="q", EVERY=5, MISSED="all").startswith(f"{where} MISSED must be")
    for wrong in ([], None, "nightly"):
        [found] = read({"STORES": STORES, "SCHEDULES": wrong})[1]
        assert found.where == "GRACEFUL['SCHEDULES']"
    [found] = read({"STORES": STORES, "SCHEDULES": {"nightly": "0 3 * * *"}})[1]
    assert found.where == where


def test_a_wrong_rule_and_a_wrong_zone_are_said_by_the_checks(settings: Any) -> None:
    settings.GRACEFUL = {
        "SCHEDULES": {
            "a": {"QUEUE": "q", "CRON": "never"},
            "b": {"QUEUE": "q", "CRON": "* * * * *", "TIMEZONE": "Moon"},
        }
    }
    rule, zone = (found for found in messages("E001") if "SCHEDULES" in found)
    assert "CRON must be a cron expression" in rule
    assert "TIMEZONE must be the name of a time zone" in zone
    with pytest.raises(ImproperlyConfigured, match="TIMEZONE"):
        get_conf()


def test_the_checks_know_queues_that_are_not_there_not_seen_or_without_a_key(settings: Any, tmp_path: Path) -> None:
    queue("thumbnails", unique="queued", key=lambda payload: payload["photo"])(work)
    queue("fast", store="fast")(work)
    settings.GRACEFUL = {
        "STORES": {"default": {"BACKEND": "leveldb", "PATH": tmp_path}, "fast": {"BACKEND": "memory"}},
        "SCHEDULES": {
            "typo": {"QUEUE": "thumbnail", "EVERY": 5},
            "unseen": {"QUEUE": "fast", "EVERY": 5},
            "keyless": {"QUEUE": "thumbnails", "EVERY": 5},
            "good": {"QUEUE": "thumbnails", "EVERY": 5, "KEY": "all"},
        },
    }
    [unknown], [unseen], [keyless] = messages("E030"), messages("E031"), messages("E032")
    assert (
        "'typo' pushes to queue 'thumbnail', which no app's queues.py declares (did you mean 'thumbnails'?)" in unknown
    )
    assert "'unseen'" in unseen
    assert "memory store 'fast'" in unseen
    assert "'keyless'" in keyless
