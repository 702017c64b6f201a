"""The system checks of queued mail, and the setting that they look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks

from django_graceful.conf import MailConf, read
from tests.mail.conftest import LOCMEM, QUEUED, both_ways, old_ways

pytestmark = old_ways


def found() -> list[tuple[str | None, str]]:
    return [(problem.id, problem.hint or "") for problem in run_checks(tags=["mail"]) if "graceful" in str(problem.id)]


@both_ways
def test_a_site_with_queued_mail_passes(way: str, configure: Callable[..., None]) -> None:
    configure(way, on_commit="default")
    assert found() == []


def test_a_site_without_queued_mail_is_left_alone(settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "MAIL": {"DELIVER_USING": "no.such.Backend", "ON_COMMIT": "nowhere"}}
    assert found() == []


@both_ways
def test_on_commit_must_name_a_database(way: str, configure: Callable[..., None]) -> None:
    configure(way, on_commit="defualt")
    ((number, hint),) = found()
    assert number == "graceful.mail.E004"
    assert "default" in hint


@pytest.mark.parametrize(
    ("path", "number"),
    [(QUEUED, "graceful.mail.E003"), ("no.such.Backend", "graceful.mail.E005"), ("os.nothing", "graceful.mail.E005")],
)
def test_deliver_using_must_be_a_backend_that_delivers(configure: Callable[..., None], path: str, number: str) -> None:
    configure("EMAIL_BACKEND", path)
    ((problem, hint),) = found()
    assert problem == number
    assert hint


def test_wrong_settings_are_left_to_the_check_of_the_settings(settings: Any) -> None:
    settings.EMAIL_BACKEND = QUEUED
    settings.GRACEFUL = {"NONSENSE": 1}
    assert found() == []


def test_the_default_is_djangos_smtp_backend_and_the_commit() -> None:
    conf, faults = read({}, "/tmp")
    assert faults == []
    assert conf.mail == MailConf("django.core.mail.backends.smtp.EmailBackend", True)


@pytest.mark.parametrize(
    ("raw", "where", "what"),
    [
        (["smtp"], "GRACEFUL['MAIL']", "must be a dict, not list"),
        ({"DELIVER_USNG": LOCMEM}, "GRACEFUL['MAIL']", "unknown key 'DELIVER_USNG' (did you mean 'DELIVER_USING'?)"),
        (
            {"DELIVER_USING": 7},
            "GRACEFUL['MAIL']['DELIVER_USING']",
            "must be the dotted path of an email backend, not 7",
        ),
        ({"DELIVER_USING": "smtp"}, "GRACEFUL['MAIL']['DELIVER_USING']", "must be the dotted path of an email backend"),
        (
            {"ON_COMMIT": None},
            "GRACEFUL['MAIL']['ON_COMMIT']",
            "must be True, False or the alias of a database, not None",
        ),
        ({"ON_COMMIT": ""}, "GRACEFUL['MAIL']['ON_COMMIT']", "must be True, False or the alias of a database"),
    ],
)
def test_a_wrong_setting_is_named_with_the_nearest_right_one(raw: Any, where: str, what: str) -> None:
    (fault,) = read({"MAIL": raw}, "/tmp")[1]
    assert fault.where == where
    assert fault.what.startswith(what)
    assert fault.hint
