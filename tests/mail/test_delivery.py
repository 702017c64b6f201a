"""Delivery to a real SMTP server: what becomes of each message of a batch."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from typing import Any

import pytest

from django_graceful import get_queue
from django_graceful.contrib.mail.delivery import deliver
from django_graceful.exceptions import Discard, QueueFull
from tests.mail.conftest import SMTP, FakeStore, Rest, both_ways, letters, old_ways, outcomes
from tests.mail.messages import message
from tests.mail.post import Post, free_port

pytestmark = old_ways


def test_a_batch_shares_one_connection(smtp_site: str, store: FakeStore, post: Post, rest: Rest) -> None:
    payloads = letters(store, *(f"s{n}" for n in range(20)))
    assert deliver(payloads, rest) == []
    assert post.subjects == [f"s{n}" for n in range(20)]
    assert post.connections == 1


def test_what_the_server_refuses_with_5xx_is_dead_and_with_4xx_is_retried_and_the_others_arrive(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest
) -> None:
    post.senders = {"b@example.com": "550 who are you", "c@example.com": "451 later"}
    post.data = {"d@example.com": "554 spam", "e@example.com": "452 disk full"}
    payloads = letters(store, *"abcdef")
    failures = deliver(payloads, rest)
    assert outcomes(payloads, failures) == [
        *("delivered", "Discard", "SMTPSenderRefused", "Discard", "SMTPDataError", "delivered")
    ]
    assert post.subjects == ["a", "f"]
    assert post.connections == 1
    assert [f.error.reason for f in failures if isinstance(f.error, Discard)] == ["550 who are you", "554 spam"]


@pytest.mark.parametrize(("reply", "outcome"), [("550 no such user", "Discard"), ("450 busy", "SMTPRecipientsRefused")])
def test_a_message_whose_only_recipient_is_refused(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest, reply: str, outcome: str
) -> None:
    post.recipients = {"you@example.com": reply}
    payloads = letters(store, "a")
    assert outcomes(payloads, deliver(payloads, rest)) == [outcome]
    assert rest.pushed == []


def test_recipients_that_got_it_never_get_it_again(smtp_site: str, store: FakeStore, post: Post, rest: Rest) -> None:
    post.recipients = {"busy@x.org": "451 greylisted", "gone@x.org": "550 no such user"}
    payloads = letters(store, "a", to=["one@x.org", "busy@x.org"], cc=["gone@x.org"], bcc=["two@x.org"])
    assert deliver(payloads, rest) == []
    assert post.delivered.pop().recipients == ["one@x.org", "two@x.org"]
    assert rest.pushed == [(["gone@x.org"], False), (["busy@x.org"], True)]

    del post.recipients["busy@x.org"]
    assert outcomes(rest.payloads, deliver(rest.payloads, Rest())) == ["Discard", "delivered"]
    (second,) = post.delivered
    assert second.recipients == ["busy@x.org"]
    assert second.parsed["To"] == "one@x.org, busy@x.org"
    assert second.parsed["Message-ID"] == payloads[0]["stamps"]["Message-ID"]


def test_recipients_refused_in_two_ways_part_company_even_when_nobody_got_it(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest
) -> None:
    post.recipients = {"busy@x.org": "451 later", "gone@x.org": "550 no"}
    assert deliver(letters(store, "a", to=["busy@x.org", "gone@x.org"]), rest) == []
    assert rest.pushed == [(["gone@x.org"], False), (["busy@x.org"], True)]
    assert post.delivered == []


def test_nobody_is_forgotten_when_the_rest_can_not_be_pushed(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest
) -> None:
    post.recipients = {"busy@x.org": "451 later"}
    rest.error = QueueFull("no room")
    payloads = letters(store, "a", to=["one@x.org", "busy@x.org"])
    assert outcomes(payloads, deliver(payloads, rest)) == ["QueueFull"]


def test_a_connection_that_is_cut_costs_one_message_an_attempt(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest
) -> None:
    post.data = {"b@example.com": "drop"}
    payloads = letters(store, *"abcd")
    assert outcomes(payloads, deliver(payloads, rest)) == [
        *("delivered", "SMTPServerDisconnected", "delivered", "delivered")
    ]
    assert post.subjects == ["a", "c", "d"]
    assert post.connections == 2


@pytest.mark.parametrize("step", ["senders", "data"])
def test_a_server_that_says_421_is_connected_anew(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest, step: str
) -> None:
    setattr(post, step, {"b@example.com": "421 closing"})
    payloads = letters(store, *"abc")
    found = outcomes(payloads, deliver(payloads, rest))
    assert (found[0], found[2]) == ("delivered", "delivered")
    assert found[1].startswith("SMTP")
    assert post.connections == 2


def test_421_for_a_recipient_loses_none_of_the_others(smtp_site: str, store: FakeStore, post: Post, rest: Rest) -> None:
    post.recipients = {"b@x.org": "550 no", "c@x.org": "421 closing"}
    assert deliver(letters(store, "m", to=[f"{name}@x.org" for name in "abcd"]), rest) == []
    assert rest.pushed == [(["b@x.org"], False), (["a@x.org", "c@x.org", "d@x.org"], True)]


@both_ways
def test_with_no_server_every_message_is_retried_after_one_try(
    way: str, configure: Callable[..., None], store: FakeStore, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(way, SMTP, host="127.0.0.1", port=free_port())
    tries = []
    connect = smtplib.SMTP.connect
    monkeypatch.setattr(smtplib.SMTP, "connect", lambda self, *a, **k: tries.append(1) or connect(self, *a, **k))
    payloads = letters(store, *"abc")
    assert outcomes(payloads, deliver(payloads, rest)) == ["ConnectionRefusedError"] * 3
    assert len(tries) == 1


def test_a_login_that_is_refused_is_retried_because_somebody_may_mend_the_password(
    smtp_site: str, store: FakeStore, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise smtplib.SMTPAuthenticationError(535, b"bad password")

    monkeypatch.setattr(f"{SMTP}.open", refuse)
    payloads = letters(store, *"ab")
    assert outcomes(payloads, deliver(payloads, rest)) == ["SMTPAuthenticationError"] * 2


def test_what_can_not_be_decoded_or_rendered_is_dead_and_the_others_arrive(
    smtp_site: str, store: FakeStore, post: Post, rest: Rest
) -> None:
    good, injected, address = letters(store, *"abc")
    injected = {**injected, "subject": "two\nBcc: lines"}
    address = {**address, "to": ["two@example.com, addresses@example.com"]}
    payloads = [{"format": 99}, None, injected, "text", address, good, []]
    found = deliver(payloads, rest)
    assert outcomes(payloads, found) == [*["Discard"] * 5, "delivered", "Discard"]
    assert post.subjects == ["a"]
    assert post.connections == 1
    assert all(isinstance(failure.error, Discard) and failure.error.reason for failure in found)


def test_the_queue_delivers_and_pushes_the_rest_to_itself_with_a_delay(
    smtp_site: str, store: FakeStore, post: Post
) -> None:
    post.recipients = {"busy@x.org": "451 later", "gone@x.org": "550 no"}
    payloads = letters(store, "a", to=["one@x.org", "busy@x.org", "gone@x.org"])
    assert get_queue("mail")(payloads) == []
    gone, busy = store.items
    assert (gone.payload["recipients"], gone.not_before) == (["gone@x.org"], 0)
    assert busy.payload["recipients"] == ["busy@x.org"]
    assert busy.not_before - busy.pushed_at == pytest.approx(10)


def test_the_queue_is_declared_for_slow_and_unreliable_servers() -> None:
    options = get_queue("mail").options
    assert (options.batch_length, options.max_attempts, options.backoff, options.backoff_max) == (20, 20, 10, 3600)


@pytest.mark.parametrize(("reply", "error"), [("550 no", Discard), ("450 busy", smtplib.SMTPRecipientsRefused)])
def test_a_site_may_deliver_messages_one_by_one(
    smtp_site: str, store: FakeStore, post: Post, settings: Any, reply: str, error: type[Exception]
) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"mail": {"BATCH_LENGTH": 1}}}
    (payload,) = letters(store, "a")
    assert get_queue("mail")(payload) == []
    assert post.subjects == ["a"]
    post.recipients = {"you@example.com": reply}
    with pytest.raises(error):
        get_queue("mail")(payload)


def test_an_immediate_queue_delivers_inside_send(smtp_site: str, store: FakeStore, post: Post, settings: Any) -> None:
    settings.GRACEFUL = {**settings.GRACEFUL, "QUEUES": {"mail": {"IMMEDIATE": True, "MAX_ATTEMPTS": 2}}}
    message().send()
    assert post.subjects == ["Hello"]
    post.recipients = {"you@example.com": "550 no"}
    message().send()
    assert post.asked == ["you@example.com"] * 2
    post.recipients = {"you@example.com": "450 busy"}
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        message().send()
    assert post.asked == ["you@example.com"] * 4
    assert store.records == []
