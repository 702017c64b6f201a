"""Mail that goes through the outbox lives or dies with the transaction in which it is sent."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.mail import EmailMessage

from django_graceful.contrib.mail.backend import EmailBackend
from django_graceful.contrib.mail.queues import mail
from django_graceful.items import State
from django_graceful.outbox import rows
from tests.outbox.world import World, atomic, undone


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The databases whose outbox was written to."""
    found: list[str] = []
    real = rows.insert
    monkeypatch.setattr(rows, "insert", lambda using, some: (found.append(using), real(using, some)))
    return found


@pytest.fixture
def world(world: World) -> World:
    world.queue = mail
    return world


def send(on_commit: bool | str, subject: str = "Hello", **options: Any) -> None:
    message = EmailMessage(subject, "body", "me@example.com", ["you@example.com"])
    assert EmailBackend(on_commit=on_commit, **options).send_messages([message]) == 1


def subjects(world: World) -> list[str]:
    while world.owner.prepare():
        pass
    if "mail" not in world.owner.counts():
        return []
    return [found.item.payload["subject"] for found in world.owner.page("mail", State.WAITING).items]


@pytest.mark.parametrize("silently", [False, True])
def test_mail_is_written_into_the_transaction(world: World, written: list[str], silently: bool) -> None:
    with undone():
        send("outbox", "lost", fail_silently=silently)
    with atomic():
        send("outbox", fail_silently=silently)
        assert world.left() == 1
    assert written == ["default", "default"]
    assert subjects(world) == ["Hello"]


def test_another_database_may_be_named(world: World, written: list[str]) -> None:
    world.database("other")
    with atomic("other"):
        send("outbox:other")
    assert written == ["other"]
    assert subjects(world) == ["Hello"]


def test_outside_of_a_transaction_it_is_queued_at_once(world: World, written: list[str]) -> None:
    send("outbox")
    assert written == []
    assert subjects(world) == ["Hello"]


@pytest.mark.parametrize("silently", [False, True])
def test_the_queue_mail_may_ask_for_it(world: World, written: list[str], settings: Any, silently: bool) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"mail": {"OUTBOX": True}}}
    with atomic():
        send(True, fail_silently=silently)
    assert written == ["default"]
    assert subjects(world) == ["Hello"]


@pytest.mark.parametrize("silently", [False, True])
def test_without_it_mail_waits_for_the_commit_as_ever(world: World, written: list[str], silently: bool) -> None:
    with atomic():
        send(True, fail_silently=silently)
        assert subjects(world) == []
    assert written == []
    assert subjects(world) == ["Hello"]


def test_a_report_of_a_log_handler_is_not_lost_with_the_transaction(world: World, settings: Any) -> None:
    class Reporter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            send("outbox", record.getMessage())

    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"mail": {"OUTBOX": True}}}
    log = logging.getLogger("reports")
    handler = Reporter()
    log.addHandler(handler)
    try:
        with undone():
            log.error("it burns")
    finally:
        log.removeHandler(handler)
    assert subjects(world) == ["it burns"]
