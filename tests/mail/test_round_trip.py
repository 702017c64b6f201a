"""What arrives through the queue is what would have arrived without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.message import EmailMessage as PythonMessage
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_graceful.contrib.mail.encoding import renders_itself
from tests.mail.conftest import SMTP, FakeStore, deliver_all, old_ways, through_the_queue
from tests.mail.messages import MESSAGES, message
from tests.mail.post import Post

_VARYING = re.compile(rb"={15}\d+==|^(Date|Message-ID): .*?$(\r\n[ \t].*?$)*", re.MULTILINE | re.IGNORECASE)


def without_what_varies(content: bytes) -> bytes:
    """Boundaries are numbered in the order in which they appear; the outer Date and Message-ID go."""
    seen: dict[bytes, bytes] = {}
    return _VARYING.sub(
        lambda found: seen.setdefault(found[0], b"*%d" % len(seen)) if b"==" in found[0] else b"", content
    )


@pytest.fixture
def directly(smtp_site: str, post: Post, settings: Any) -> Callable[[EmailMessage], Any]:
    """Send a message to ``post`` without the queue."""

    def send(email: EmailMessage) -> Any:
        backend: Any = mail.mailers["really"] if smtp_site == "MAILERS" else mail.get_connection(SMTP)
        assert backend.send_messages([email]) == 1
        return post.delivered.pop()

    return send


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_arrives_byte_for_byte_as_it_would_without_the_queue(
    name: str, directly: Callable[[EmailMessage], Any], post: Post, store: FakeStore
) -> None:
    expected = directly(MESSAGES[name]())

    assert MESSAGES[name]().send() == 1
    assert deliver_all(store) == []

    (arrived,) = post.delivered
    assert without_what_varies(arrived.content) == without_what_varies(expected.content)
    assert (arrived.sender, arrived.recipients) == (expected.sender, expected.recipients)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_attempt_has_the_date_and_message_id_of_the_send(name: str) -> None:
    email = MESSAGES[name]()
    restored = through_the_queue(email)
    first, second = restored.message(), restored.message()
    assert first["Message-ID"]
    assert first["Date"]
    assert (first["Message-ID"], first["Date"]) == (second["Message-ID"], second["Date"])
    assert len(first.get_all("Message-ID")) == len(first.get_all("Date")) == 1


@pytest.mark.parametrize("name", MESSAGES)
def test_the_fields_are_there_for_backends_that_do_not_render(name: str) -> None:
    email = MESSAGES[name]()
    restored: Any = through_the_queue(email)
    for field in ("subject", "body", "from_email"):
        value = getattr(email, field)
        assert getattr(restored, field) == (None if value is None else str(value))
        assert type(getattr(restored, field)) in (str, type(None))
    for field in ("to", "cc", "bcc", "reply_to"):
        assert getattr(restored, field) == [str(address) for address in getattr(email, field)]
    assert restored.recipients() == [str(address) for address in email.recipients()]
    assert (restored.content_subtype, restored.encoding) == (email.content_subtype, email.encoding)
    assert isinstance(restored, EmailMultiAlternatives) == isinstance(email, EmailMultiAlternatives)
    assert getattr(restored, "alternatives", None) == getattr(email, "alternatives", None)
    assert list(restored.extra_headers) == list(email.extra_headers)
    assert len(restored.attachments) == len(email.attachments)


def test_date_and_message_id_do_not_become_headers_that_a_web_service_might_refuse() -> None:
    assert through_the_queue(message()).extra_headers == {}


def test_attachments_keep_their_type_for_backends_that_do_not_render() -> None:
    email = message(attachments=[("a.txt", "text", "text/plain"), (None, b"\x00\xff", "application/pdf")])
    assert through_the_queue(email).attachments == email.attachments


@pytest.mark.parametrize("name", ["legacy part", "legacy image"])
def test_an_old_mime_part_is_one_afterwards(name: str) -> None:
    (before,), (after,) = MESSAGES[name]().attachments, through_the_queue(MESSAGES[name]()).attachments
    assert isinstance(after, MIMEBase)
    assert after.items() == before.items()
    assert after.get_payload(decode=True) == before.get_payload(decode=True)


def test_an_attached_mime_part_is_of_the_same_kind_afterwards() -> None:
    for make in MESSAGES.values():
        for before, after in zip(make().attachments, through_the_queue(make()).attachments, strict=True):
            kind = next(kind for kind in (MIMEBase, PythonMessage, MIMEPart, tuple) if isinstance(before, kind))
            assert isinstance(after, kind)


def test_an_attached_message_is_a_message_afterwards() -> None:
    """So that a backend may write it with its own line ends."""
    for name in ("rfc822 from Django", "rfc822 from Python"):
        ((_, content, mimetype),) = through_the_queue(MESSAGES[name]()).attachments
        assert isinstance(content, Message)
        assert mimetype == "message/rfc822"


def test_a_plain_message_is_stored_as_fields_only() -> None:
    for name, make in MESSAGES.items():
        assert renders_itself(make()) == (name == "related")


@old_ways
def test_a_message_is_language_free_when_it_is_queued() -> None:
    from django.utils import translation
    from django.utils.translation import gettext_lazy

    with translation.override("de"):
        restored = through_the_queue(message(subject=gettext_lazy("Yes")))
    with translation.override("fr"):
        assert restored.subject == "Ja"
        assert restored.message()["Subject"] == "Ja"
