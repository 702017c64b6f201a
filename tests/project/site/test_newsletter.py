from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from django_graceful.exceptions import QueueFull
from testproject.newsletter.models import Issue, Subscriber
from testproject.newsletter.queues import CHUNK, send_issue


def subscribe(number: int) -> None:
    Subscriber.objects.bulk_create([Subscriber(email=f"{n}@example.com") for n in range(number)])


def unsubscribe_path(text: str) -> str:
    found = re.search(r"http://localhost:8000(/newsletter/unsubscribe/\S+)", text)
    assert found
    return found[1]


@pytest.fixture
def issue() -> Issue:
    return Issue.objects.create(subject="Open", text="Come by.")


def test_a_subscriber_gets_one_welcome_however_often_the_form_is_sent(visit: Any) -> None:
    visit("/newsletter/", {"email": "Ada@example.com"})
    page = visit("/newsletter/", {"email": "ada@example.com"})
    assert "A welcome is on its way" in page.text
    assert [s.email for s in Subscriber.objects.all()] == ["ada@example.com"]
    assert [m.to for m in mail.outbox] == [["ada@example.com"]]


def test_a_wrong_address_is_refused(visit: Any) -> None:
    assert 'class="wrong"' in visit("/newsletter/", {"email": "ada@"}).text
    assert not Subscriber.objects.exists()


def test_the_link_in_each_mail_unsubscribes_after_a_question(visit: Any, client: Client) -> None:
    visit("/newsletter/", {"email": "ada@example.com"})
    path = unsubscribe_path(mail.outbox[0].body)
    assert "ada@example.com" in client.get(path).text
    assert Subscriber.objects.count() == 1
    visit(path, {})
    assert not Subscriber.objects.exists()
    assert "not valid any more" in client.get(path).text


def test_nobody_else_can_be_unsubscribed_with_an_invented_link(client: Client) -> None:
    subscribe(1)
    page = client.post("/newsletter/unsubscribe/MQ:forged/", follow=True)
    assert page.status_code == 200
    assert Subscriber.objects.count() == 1


def test_staff_sends_an_issue_with_one_queued_job(admin_client: Client, issue: Issue, waiting: Any) -> None:
    subscribe(3)
    assert "Send to 3 subscribers" in admin_client.get("/newsletter/").text
    for _ in range(2):
        admin_client.post(f"/newsletter/issue/{issue.pk}/send/")
    assert waiting("newsletter") == [{"issue": issue.pk}]
    assert "On its way since" in admin_client.get("/newsletter/").text


def test_visitors_see_sent_issues_only_and_can_send_none(client: Client, issue: Issue, waiting: Any) -> None:
    assert "Come by." not in client.get("/newsletter/").text
    assert client.post(f"/newsletter/issue/{issue.pk}/send/").url.startswith("/admin/login/")
    assert waiting("newsletter") == []


def test_the_job_mails_every_subscriber_once(issue: Issue, client: Client) -> None:
    subscribe(CHUNK + 5)
    send_issue({"issue": issue.pk})
    assert sorted(m.to[0] for m in mail.outbox) == sorted(s.email for s in Subscriber.objects.all())
    assert "Come by." in client.get("/newsletter/").text


def test_an_interrupted_job_goes_on_where_it_was(issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe(CHUNK * 2)
    send = mail.EmailMessage.send
    budget = iter(range(CHUNK + 7))

    def send_some(message: mail.EmailMessage) -> int:
        if next(budget, None) is None:
            raise QueueFull("no room")
        return send(message)

    monkeypatch.setattr(mail.EmailMessage, "send", send_some)
    with pytest.raises(QueueFull):
        send_issue({"issue": issue.pk})
    monkeypatch.undo()
    mail.outbox.clear()
    send_issue({"issue": issue.pk})
    assert len(mail.outbox) == CHUNK
    assert not Issue.objects.filter(sent_at=None).exists()
