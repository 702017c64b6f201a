"""Delivery by other backends than Django's SMTP backend, and by ones that can not deliver."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.locmem import EmailBackend as Outbox
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend

from django_graceful.contrib.mail.delivery import deliver
from django_graceful.exceptions import Cancelled
from tests.mail.conftest import HAS_MAILERS, QUEUED, FakeStore, Rest, both_ways, letters, old_ways, outcomes
from tests.mail.post import Post, free_port

pytestmark = old_ways


class Moody(Outbox):
    """Delivers to the outbox, but for some subjects raises what the test says."""

    moods: dict[str, BaseException] = {}
    opened = closed = 0

    def open(self) -> None:
        type(self).opened += 1

    def close(self) -> None:
        type(self).closed += 1

    def send_messages(self, messages: Any) -> int:
        for email in messages:
            if email.subject in self.moods:
                raise self.moods[email.subject]
        return super().send_messages(messages)


@pytest.fixture
def moody(configure: Callable[..., None], store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> type[Moody]:
    configure("MAILERS" if HAS_MAILERS else "EMAIL_BACKEND", f"{__name__}.Moody")
    for name, value in (("moods", {}), ("opened", 0), ("closed", 0)):
        monkeypatch.setattr(Moody, name, value)
    return Moody


def test_any_backend_delivers_and_its_errors_stay_with_their_message(
    moody: type[Moody], store: FakeStore, rest: Rest
) -> None:
    moody.moods = {"b": ConnectionResetError("gone"), "c": RuntimeError("a bug"), "d": ValueError("bad data")}
    payloads = letters(store, *"abcde")
    found = deliver(payloads, rest)
    assert outcomes(payloads, found) == ["delivered", "ConnectionResetError", "RuntimeError", "Discard", "delivered"]
    assert found[0].error is moody.moods["b"]
    assert [m.subject for m in mail.outbox] == ["a", "e"]
    assert moody.opened == moody.closed == 3


def test_a_backend_that_names_refused_recipients_without_smtp_is_understood(
    moody: type[Moody], store: FakeStore, rest: Rest
) -> None:
    refused: dict[str, tuple[int, bytes]] = {"gone@x.org": (550, b"no"), "busy@x.org": (450, b"later")}
    moody.moods = {"a": smtplib.SMTPRecipientsRefused(refused)}
    assert deliver(letters(store, "a", to=["gone@x.org", "busy@x.org"]), rest) == []
    assert rest.pushed == [(["gone@x.org"], False), (["busy@x.org"], True)]


@pytest.mark.parametrize("reason", ["shutdown", "cancel", "timeout"])
def test_what_was_delivered_before_the_run_was_stopped_stays_delivered(
    moody: type[Moody], store: FakeStore, rest: Rest, reason: str
) -> None:
    stop = Cancelled(reason)
    moody.moods = {"a": ValueError("bad data"), "c": stop}
    payloads = letters(store, *"abcd")
    found = deliver(payloads, rest)
    assert outcomes(payloads, found) == ["Discard", "delivered", "Cancelled", "Cancelled"]
    assert all(failure.error is stop for failure in found[1:])
    assert moody.opened == moody.closed == 1


def test_a_delivering_backend_can_not_be_silent_here(
    configure: Callable[..., None], store: FakeStore, rest: Rest
) -> None:
    way = "MAILERS" if HAS_MAILERS else "EMAIL_BACKEND"
    configure(way, f"{__name__}.Silent", host="127.0.0.1", port=free_port())
    payloads = letters(store, "a")
    assert outcomes(payloads, deliver(payloads, rest)) == ["ConnectionRefusedError"]


class Choosy(SMTPBackend):
    """Suppresses what the site does not want to be sent, as it would without the queue."""

    def send_messages(self, messages: Any) -> int:
        return int(super().send_messages([email for email in messages if "suppressed" not in email.subject]))


def test_a_message_that_the_backend_suppresses_is_done_and_not_mistaken_for_the_one_before(
    configure: Callable[..., None], store: FakeStore, post: Post, rest: Rest
) -> None:
    configure("MAILERS" if HAS_MAILERS else "EMAIL_BACKEND", f"{__name__}.Choosy", host=post.host, port=post.port)
    post.recipients = {"busy@x.org": "451 later"}
    payloads = letters(store, "a", "suppressed", to=["one@x.org", "busy@x.org"])
    assert deliver(payloads, rest) == []
    assert post.subjects == ["a"]
    assert [payload["subject"] for payload in rest.payloads] == ["a"]


class Silent(SMTPBackend):
    """Fails silently by configuration."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"fail_silently": True}))


@both_ways
def test_mail_that_would_be_queued_again_is_kept_with_an_error(
    way: str, configure: Callable[..., None], store: FakeStore, rest: Rest, settings: Any
) -> None:
    configure(way)
    payloads = letters(store, "a")
    if way == "MAILERS":
        settings.MAILERS = {
            "default": settings.MAILERS["default"],
            "really": {"BACKEND": QUEUED, "OPTIONS": {"deliver_using": "smtp"}},
            "smtp": {"OPTIONS": {"host": "localhost"}},
        }
    else:
        settings.GRACEFUL = {**settings.GRACEFUL, "MAIL": {"DELIVER_USING": QUEUED}}
    (failure,) = deliver(payloads, rest)
    assert isinstance(failure.error, ImproperlyConfigured)
    assert store.records == []


class Forwarding(Outbox):
    """Delivers by Django's default mailer, which is the queue."""

    def send_messages(self, messages: Any) -> int:
        default = mail.mailers.default if HAS_MAILERS else mail.get_connection()
        return int(default.send_messages(messages))


def test_a_backend_that_forwards_to_the_queue_does_not_lose_the_mail(
    configure: Callable[..., None], store: FakeStore, rest: Rest
) -> None:
    configure("MAILERS" if HAS_MAILERS else "EMAIL_BACKEND", f"{__name__}.Forwarding")
    payloads = letters(store, "a")
    assert outcomes(payloads, deliver(payloads, rest)) == ["ImproperlyConfigured"]
    assert store.records == []
