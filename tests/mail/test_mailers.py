"""Mailers of Django 6.1; on older ones this file is not collected."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.core.checks import run_checks

from django_graceful.contrib.mail.backend import EmailBackend
from tests.mail.conftest import LOCMEM, QUEUED, FakeStore, deliver_all
from tests.mail.messages import message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, "must define 'deliver_using'"),
        ({"deliver_using": "smpt"}, "names no mailer: 'smpt' .did you mean 'smtp'"),
        ({"deliver_using": "default"}, "queues, too"),
        ({"deliver_using": "other"}, "queues, too"),
        ({"deliver_using": "smtp", "colour": "red"}, "Unknown options 'colour'"),
    ],
    ids=str,
)
def test_a_mailer_that_can_not_work_is_an_invalid_mailer(settings: Any, options: dict[str, Any], error: str) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": QUEUED, "OPTIONS": options},
        "other": {"BACKEND": QUEUED, "OPTIONS": {"deliver_using": "smtp"}},
        "smtp": {"OPTIONS": {"host": "localhost"}},
    }
    with pytest.raises(mail.InvalidMailer, match=error):
        message().send()


def test_each_mailer_delivers_by_its_own(settings: Any, store: FakeStore) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": QUEUED, "OPTIONS": {"deliver_using": "one"}},
        "bulk": {"BACKEND": QUEUED, "OPTIONS": {"deliver_using": "two"}},
        "one": {"BACKEND": LOCMEM},
        "two": {"BACKEND": LOCMEM},
    }
    message(subject="a").send()
    message(subject="b").send(using="bulk")
    message(subject="c").send(using="default")
    assert deliver_all(store) == []
    assert sorted((m.subject, m.sent_using) for m in mail.outbox) == [("a", "one"), ("b", "two"), ("c", "one")]


def test_mail_queued_before_the_site_had_mailers_is_delivered_by_the_default_one(
    settings: Any, store: FakeStore
) -> None:
    settings.MAILERS = {
        "default": {"BACKEND": QUEUED, "OPTIONS": {"deliver_using": "one"}},
        "one": {"BACKEND": LOCMEM},
    }
    EmailBackend().send_messages([message()])
    assert [payload["using"] for payload in store.payloads] == [None]
    assert deliver_all(store) == []
    assert [m.sent_using for m in mail.outbox] == ["one"]


def mailers(**options: Any) -> dict[str, Any]:
    return {
        "default": {"BACKEND": QUEUED, "OPTIONS": options},
        "other": {"BACKEND": QUEUED, "OPTIONS": {"deliver_using": "outbox"}},
        "outbox": {"BACKEND": LOCMEM},
        "odd": {"BACKEND": "no.such.Backend"},
    }


WRONG = [
    ({}, "graceful.mail.E001"),
    ({"deliver_using": "outbx"}, "graceful.mail.E002"),
    ({"deliver_using": "default"}, "graceful.mail.E003"),
    ({"deliver_using": "other"}, "graceful.mail.E003"),
    ({"deliver_using": "outbox", "on_commit": "nowhere"}, "graceful.mail.E004"),
]


@pytest.mark.parametrize(("options", "number"), WRONG, ids=str)
def test_a_queued_mailer_needs_one_that_delivers(settings: Any, options: dict[str, Any], number: str) -> None:
    settings.MAILERS = mailers(**options)
    (problem,) = [problem for problem in run_checks(tags=["mail"]) if "graceful" in str(problem.id)]
    assert problem.id == number
    assert problem.hint
