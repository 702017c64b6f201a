"""Sending mail on a site whose mail is queued."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils.functional import lazystr

from django_graceful.contrib.mail.backend import EmailBackend
from django_graceful.exceptions import PayloadTooLarge, QueueFull
from tests.mail.conftest import HAS_MAILERS, FakeStore, both_ways, deliver_all, old_ways
from tests.mail.messages import message

TO = ["you@example.com"]


def test_send_mail_queues_and_sends_nothing(site: str, store: FakeStore) -> None:
    assert mail.send_mail("Hello", "body", None, TO, html_message="<b>") == 1
    assert mail.outbox == []
    assert store.subjects == ["Hello"]


def test_what_was_queued_is_delivered(site: str, store: FakeStore) -> None:
    mail.send_mail("Hello", "body", "me@example.com", TO, html_message="<b>")
    assert deliver_all(store) == []
    (found,) = mail.outbox
    assert (found.subject, found.body, found.from_email, found.to) == ("Hello", "body", "me@example.com", TO)
    assert found.alternatives == [("<b>", "text/html")]


def test_a_mass_mailing_is_one_write(site: str, store: FakeStore) -> None:
    assert mail.send_mass_mail([(f"Hello {n}", "body", None, TO) for n in range(3)]) == 3
    assert store.subjects == ["Hello 0", "Hello 1", "Hello 2"]
    assert store.writes == 1


def test_mail_to_the_admins_and_managers_is_queued(site: str, store: FakeStore, settings: Any) -> None:
    settings.ADMINS = settings.MANAGERS = ["boss@example.com"] if HAS_MAILERS else [("Boss", "boss@example.com")]
    mail.mail_admins("down", "body")
    mail.mail_managers(lazystr("up"), "body")
    assert [(p["subject"], p["to"]) for p in store.payloads] == [
        ("[Django] down", ["boss@example.com"]),
        ("[Django] up", ["boss@example.com"]),
    ]


def test_messages_without_recipients_are_skipped_and_not_counted(site: str, store: FakeStore) -> None:
    backend = mail.mailers.default if site == "MAILERS" else mail.get_connection()
    assert backend.send_messages([message(to=[]), message(), message(to=[""])]) == 1
    assert backend.send_messages([]) == 0
    assert backend.send_messages(m for m in [message()]) == 1
    assert len(store.records) == 2


def test_the_backend_is_a_context_manager_like_the_others(site: str, store: FakeStore) -> None:
    with mail.mailers.default if site == "MAILERS" else mail.get_connection() as connection:
        connection.send_messages([message()])
    assert store.subjects == ["Hello"]


@pytest.mark.parametrize("field", ["subject", "from_email"])
def test_header_injection_is_shown_to_the_sender(site: str, store: FakeStore, field: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)newline|linefeed|invalid"):
        message(**{field: "me@example.com\nBcc: victim@example.com"}).send()
    assert store.records == []


def test_one_bad_message_of_a_mass_mailing_queues_none(site: str, store: FakeStore) -> None:
    with pytest.raises(ValueError):
        mail.send_mass_mail([("good", "body", None, TO), ("bad\nBcc: you", "body", None, TO)])
    assert store.records == []


def test_a_full_queue_is_an_error_of_the_send(site: str, store: FakeStore) -> None:
    store.fill()
    with pytest.raises(QueueFull):
        message().send()


def test_a_message_above_the_limit_is_an_error_of_the_send(site: str, store: FakeStore, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "MAX_PAYLOAD": 1000}
    with pytest.raises(PayloadTooLarge, match="MAX_PAYLOAD"):
        message(body="x" * 1000).send()


@old_ways
@both_ways
def test_with_fail_silently_a_send_never_raises(
    way: str, configure: Callable[..., None], store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    configure(way)
    store.fill()
    assert message().send(fail_silently=True) == 0
    assert message(subject="two\nlines").send(fail_silently=True) == 0
    assert "no room" in caplog.text


@old_ways
@both_ways
def test_credentials_of_a_single_message_are_refused(
    way: str, configure: Callable[..., None], store: FakeStore
) -> None:
    configure(way)
    with pytest.raises(ImproperlyConfigured, match="user name or password"):
        mail.send_mail("Hello", "body", None, TO, auth_user="me", auth_password="secret")


def test_the_backend_needs_its_app(site: str, settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if not app.endswith("contrib.mail")]
    with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        message().send()


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_mail_of_a_transaction_is_queued_when_it_commits(self, site: str, store: FakeStore) -> None:
        with transaction.atomic():
            assert message().send() == 1
            assert store.records == []
        assert store.subjects == ["Hello"]

    def test_mail_of_a_transaction_that_rolls_back_was_never_sent(self, site: str, store: FakeStore) -> None:
        with transaction.atomic():
            message().send()
            transaction.set_rollback(True)
        assert store.records == []

    def test_a_message_is_stored_as_it_was_when_it_was_sent(self, site: str, store: FakeStore) -> None:
        email = message()
        with transaction.atomic():
            email.send()
            email.subject = "changed"
        assert store.subjects == ["Hello"]

    @both_ways
    def test_on_commit_false_queues_at_once(self, way: str, configure: Callable[..., None], store: FakeStore) -> None:
        configure(way, on_commit=False)
        with transaction.atomic():
            message().send()
            assert store.subjects == ["Hello"]

    @both_ways
    def test_on_commit_names_the_database(self, way: str, configure: Callable[..., None], store: FakeStore) -> None:
        configure(way, on_commit="default")
        with transaction.atomic():
            message().send()
            assert store.records == []
        assert store.subjects == ["Hello"]

    @old_ways
    @both_ways
    def test_with_fail_silently_mail_waits_for_the_commit_too(
        self, way: str, configure: Callable[..., None], store: FakeStore
    ) -> None:
        configure(way)
        with transaction.atomic():
            message(subject="rolled back").send(fail_silently=True)
            transaction.set_rollback(True)
        with transaction.atomic():
            message().send(fail_silently=True)
            assert store.records == []
        assert store.subjects == ["Hello"]

    @old_ways
    @both_ways
    def test_with_fail_silently_the_commit_does_not_raise_either(
        self, way: str, configure: Callable[..., None], store: FakeStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        configure(way)
        store.fill()
        with transaction.atomic():
            message().send(fail_silently=True)
        assert "no room" in caplog.text


def test_mail_is_queued_while_the_database_is_down(site: str, store: FakeStore) -> None:
    """Without the mark, pytest-django makes every use of the database an error."""
    message().send()
    assert store.subjects == ["Hello"]


@old_ways
def test_deliver_using_without_mailers_says_where_it_belongs(configure: Callable[..., None]) -> None:
    configure("EMAIL_BACKEND")
    with pytest.raises(ImproperlyConfigured, match="DELIVER_USING"):
        EmailBackend(deliver_using="smtp")


@old_ways
def test_a_message_with_its_own_connection_is_queued(configure: Callable[..., None], store: FakeStore) -> None:
    configure("EMAIL_BACKEND")
    EmailMessage("Hello", "body", None, TO, connection=mail.get_connection()).send()
    assert store.subjects == ["Hello"]
