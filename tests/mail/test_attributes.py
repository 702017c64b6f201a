"""What others put on a message for their delivery backend, and messages that render themselves."""

from __future__ import annotations

import datetime
from base64 import b64encode
from email.message import EmailMessage as PythonMessage
from email.mime.text import MIMEText
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import lazystr

from django_graceful.contrib.mail.encoding import encode, renders_itself
from django_graceful.contrib.mail.restored import restore
from tests.mail.conftest import FakeStore, deliver_all, through_the_queue
from tests.mail.messages import message
from tests.mail.post import Post

BODY = "signed body\nFrom me\n"


class Signed(EmailMessage):
    """Signs what it renders, so that rendering it anew would break it."""

    def message(self, **options: Any) -> Any:
        found = MIMEText(self.body, "plain", "us-ascii")
        found["DKIM-Signature"] = "v=1; a=rsa-sha256;\n\tb=" + "\n\t".join(["abcdefghijklmnopqrstuvwxyz" * 3] * 3)
        found["Subject"] = self.subject
        return found

    def recipients(self) -> list[str]:
        return ["archive@example.com", *super().recipients()]


class Tagged(EmailMultiAlternatives):
    """Has attributes for a web service, and nothing else of its own."""

    tags = ["welcome"]
    template_id = 7

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metadata = {"order": 17, "name": lazystr("Ann"), "items": (1, 2)}

    def greet(self) -> str:
        return "hello"

    @property
    def computed(self) -> int:
        return 1


class NoReprieve:
    """What JSON can not hold."""


def test_attributes_for_a_web_service_reach_it() -> None:
    email = message()
    email.esp_extra = {"pool": "bulk", "deep": [{"at": datetime.date(2026, 1, 2)}]}
    email.send_at = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
    email.track_opens = False
    restored: Any = through_the_queue(email)
    assert restored.esp_extra == email.esp_extra
    assert restored.send_at == email.send_at
    assert restored.track_opens is False


def test_attributes_of_a_subclass_reach_it_and_need_no_rendered_copy() -> None:
    email = Tagged("Hello", to=["you@example.com"])
    email.attach_alternative("<b>", "text/html")
    restored: Any = through_the_queue(email)
    assert not renders_itself(email)
    assert restored.metadata == {"order": 17, "name": "Ann", "items": [1, 2]}
    assert (restored.tags, restored.template_id) == (["welcome"], 7)
    assert restored.alternatives == email.alternatives
    assert not hasattr(restored, "computed")


def test_an_attribute_that_json_can_not_hold_does_not_stop_the_message() -> None:
    email = message()
    email.user, email.tags, email._private = NoReprieve(), ["kept"], "left"
    restored: Any = through_the_queue(email)
    assert restored.tags == ["kept"]
    assert not hasattr(restored, "user")
    assert not hasattr(restored, "_private")


def test_a_message_that_renders_itself_is_delivered_as_it_was_rendered(
    smtp_site: str, store: FakeStore, post: Post
) -> None:
    email = Signed("Hello", BODY, "me@example.com", ["you@example.com"])
    email.send()
    assert deliver_all(store) == []
    (arrived,) = post.delivered
    assert arrived.content == email.message().as_bytes().replace(b">From", b"From").replace(b"\n", b"\r\n")
    assert arrived.recipients == ["archive@example.com", "you@example.com"]


@pytest.mark.parametrize("options", [{}, {"linesep": "\r\n"}], ids=str)
def test_a_rendered_message_can_be_changed_by_the_backend(options: dict[str, str]) -> None:
    found = through_the_queue(Signed("Hello", BODY, "me@example.com", ["you@example.com"])).message()
    found["X-Added"] = "yes"
    content = found.as_bytes(**options)
    assert b"X-Added: yes" in content
    assert (b"\r\n" in content) == bool(options)
    assert found.as_string() == found.as_bytes().decode()


def test_the_fields_of_a_message_that_renders_itself_are_kept_too() -> None:
    restored = through_the_queue(Signed("Hello", BODY, "me@example.com", ["you@example.com"]))
    assert (restored.subject, restored.body, restored.to) == ("Hello", BODY, ["you@example.com"])


def test_a_method_on_one_message_counts_as_rendering_itself() -> None:
    email = message()
    part = PythonMessage()
    part["Subject"] = "mine"
    part.set_content("mine")
    email.message = lambda **options: part  # type: ignore[method-assign]
    assert renders_itself(email)
    assert through_the_queue(email).message()["Subject"] == "mine"


def test_methods_that_do_not_render_are_harmless() -> None:
    class Polite(EmailMessage):
        def send(self, *args: Any, **kwargs: Any) -> int:
            return super().send(*args, **kwargs)

        def attach(self, *args: Any, **kwargs: Any) -> None:
            super().attach(*args, **kwargs)

    assert not renders_itself(Polite())


def test_the_message_of_a_queue_item_can_be_delivered_twice(settings: Any) -> None:
    payload = encode(message(), None)
    first, second = restore(payload), restore(payload)
    first.extra_headers["X-Changed"] = "yes"
    first.to.append("more@example.com")
    assert "X-Changed" not in second.extra_headers
    assert second.to == ["you@example.com"]
    assert "X-Changed" not in restore(payload).extra_headers


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"using": ["a", "list"]},
        {"headers": 7},
        {"attachments": [{"mime": "not a dict"}]},
        {"attachments": [{"name": "a", "content": {"base64": "?"}, "type": "a/b"}]},
        {"extra": {"send_at": {"$datetime": "tomorrow"}}},
        {"mime": "?"},
    ],
    ids=str,
)
def test_what_is_not_a_message_of_ours_is_not_taken_for_one(change: dict[str, Any]) -> None:
    payload = encode(message(), None)
    restore(payload)
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        restore(payload | change)


def test_bytes_are_stored_as_base64() -> None:
    payload = encode(message(attachments=[("a.bin", b"\x00\xff", "application/pdf")]), "smtp")
    assert payload["using"] == "smtp"
    assert payload["attachments"] == [
        {"name": "a.bin", "content": {"base64": b64encode(b"\x00\xff").decode()}, "type": "application/pdf"}
    ]


def test_djangos_outbox_takes_it(site: str, store: FakeStore) -> None:
    """The outbox copies deeply."""
    Tagged("Hello", "body", to=["you@example.com"]).send()
    deliver_all(store)
    (found,) = mail.outbox
    assert isinstance(found, EmailMultiAlternatives)
    assert found.message()["Message-ID"] == found.message()["Message-ID"]


def test_what_an_older_release_has_queued_stays_readable() -> None:
    """Written down by hand: when this fails, the format needs a new number and a reader for the old one."""
    stored = {
        "format": 1,
        "using": "smtp",
        "subject": "Hello",
        "from": "me@example.com",
        "to": ["you@example.com"],
        "cc": [],
        "bcc": ["hidden@example.com"],
        "reply_to": [],
        "body": "Hi",
        "headers": {"X-Tag": "a"},
        "stamps": {"Date": "Mon, 01 Jan 2024 10:00:00 -0000", "Message-ID": "<1@example.com>"},
        "attachments": [
            {"name": "a.bin", "content": {"base64": "AP8="}, "type": "application/pdf"},
            {"part": {"mime": "Q29udGVudC1UeXBlOiB0ZXh0L3BsYWluCgpoaQo=", "kind": "base"}},
        ],
        "extra": {"tags": ["x"], "send_at": {"$datetime": "2026-01-02T03:04:00+00:00"}},
        "alternatives": [["<b>Hi</b>", "text/html"]],
        "subtype": "plain",
        "charset": "utf-8",
        "recipients": ["hidden@example.com"],
    }
    restored: Any = restore(stored)
    assert restored.recipients() == ["hidden@example.com"]
    assert restored.attachments[0] == ("a.bin", b"\x00\xff", "application/pdf")
    assert restored.attachments[1].get_payload() == "hi\n"
    assert restored.tags == ["x"]
    rendered = restored.message()
    assert (rendered["Message-ID"], rendered["X-Tag"]) == ("<1@example.com>", "a")
    assert [part.get_content_type() for part in rendered.walk()] == [
        *("multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf", "text/plain")
    ]
