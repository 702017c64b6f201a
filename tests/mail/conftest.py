"""A site with queued mail, in both of Django's ways to configure it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.utils import deprecation

from django_graceful import stores
from django_graceful.batches import BatchFailure
from django_graceful.contrib.mail.delivery import deliver
from django_graceful.contrib.mail.encoding import encode
from django_graceful.contrib.mail.restored import Restored, restore
from django_graceful.exceptions import QueueFull
from django_graceful.items import Item, decode_item
from django_graceful.stores.exchange import Exchange, LocalExchange
from tests.mail.messages import message
from tests.mail.post import Post, PostOffice

QUEUED = "django_graceful.contrib.mail.backend.EmailBackend"
LOCMEM = "django.core.mail.backends.locmem.EmailBackend"
SMTP = "django.core.mail.backends.smtp.EmailBackend"
HAS_MAILERS = hasattr(mail, "mailers")
collect_ignore = [] if HAS_MAILERS else ["test_mailers.py"]
_old = next((name for name in dir(deprecation) if name == "RemovedInDjango2028Warning"), "RemovedInDjango61Warning")
#: Django 6.1 warns about the way that 5.2 knows.
old_ways = pytest.mark.filterwarnings(f"ignore::django.utils.deprecation.{_old}")
WAYS = [pytest.param("EMAIL_BACKEND", marks=old_ways), *(["MAILERS"] if HAS_MAILERS else [])]
both_ways = pytest.mark.parametrize("way", WAYS)


class FakeStore:
    """Keeps what is pushed, as the queue ``mail`` of a site would."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.error: Exception | None = None
        self.writes = 0

    def push(self, queue: str, records: Sequence[bytes], limit: int = 0) -> list[bytes]:
        if self.error is not None:
            raise self.error
        assert queue == "mail"
        self.records += records
        self.writes += 1
        return [b"" for _ in records]

    def close(self) -> None: ...

    def exchange(self) -> Exchange:
        return LocalExchange()

    @property
    def items(self) -> list[Item]:
        return [decode_item("mail", record) for record in self.records]

    @property
    def payloads(self) -> list[Any]:
        return [item.payload for item in self.items]

    @property
    def subjects(self) -> list[str]:
        return [payload["subject"] for payload in self.payloads]

    def take(self) -> list[Any]:
        """The waiting payloads, which leave the store."""
        found = self.payloads
        self.records.clear()
        return found

    def fill(self) -> None:
        """From now on the queue is full."""
        self.error = QueueFull("no room")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """What the queue ``mail`` holds in this test."""
    found = FakeStore()
    monkeypatch.setattr(stores, "_make", lambda conf: found)
    monkeypatch.setattr(stores, "_stores", {})
    return found


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """Make mail queued: ``configure(way, deliver, host=…, on_commit=…)`` with the path of the delivering backend."""

    def apply(way: str, deliver: str = LOCMEM, on_commit: Any = None, **options: Any) -> None:
        graceful = {**settings.GRACEFUL, "PUSH_TIMEOUT": 0.01}
        if way == "EMAIL_BACKEND":
            settings.EMAIL_BACKEND = QUEUED
            graceful["MAIL"] = {"DELIVER_USING": deliver}
            if on_commit is not None:
                graceful["MAIL"]["ON_COMMIT"] = on_commit
            for name, value in options.items():
                setattr(settings, f"EMAIL_{name.upper()}", value)
        else:
            mine = {"deliver_using": "really"} | ({} if on_commit is None else {"on_commit": on_commit})
            settings.MAILERS = {
                "default": {"BACKEND": QUEUED, "OPTIONS": mine},
                "really": {"BACKEND": deliver, "OPTIONS": options},
            }
        settings.GRACEFUL = graceful

    return apply


@pytest.fixture(params=WAYS)
def site(request: Any, configure: Callable[..., None], store: FakeStore) -> str:
    """A site whose mail is queued and delivered to Django's outbox; the way it is configured."""
    configure(request.param)
    return str(request.param)


@pytest.fixture
def post() -> Iterator[Post]:
    """An SMTP server."""
    found = Post()
    office = PostOffice(found)
    office.start()
    found.host, found.port = office.hostname, office.port
    found.connections = 0  # the controller has knocked once
    yield found
    office.stop()


@pytest.fixture(params=WAYS)
def smtp_site(request: Any, configure: Callable[..., None], store: FakeStore, post: Post) -> str:
    """A site whose mail is queued and delivered to ``post``; the way it is configured."""
    configure(request.param, SMTP, host=post.host, port=post.port)
    return str(request.param)


class Rest:
    """What delivery pushed for the recipients that are left."""

    def __init__(self) -> None:
        self.pushed: list[tuple[list[str], bool]] = []
        self.payloads: list[Any] = []
        self.error: Exception | None = None

    def __call__(self, payload: Any, again: bool) -> None:
        if self.error is not None:
            raise self.error
        self.pushed.append((payload["recipients"], again))
        self.payloads.append(payload)


@pytest.fixture
def rest() -> Rest:
    return Rest()


def outcomes(payloads: list[Any], failures: list[BatchFailure]) -> list[str]:
    """For each payload the type of its error, or "delivered"."""
    errors = {id(failure.payload): failure.error for failure in failures}
    assert len(errors) == len(failures)
    assert errors.keys() <= {id(payload) for payload in payloads}
    return [type(errors[id(p)]).__name__ if id(p) in errors else "delivered" for p in payloads]


def through_the_queue(message: EmailMessage, using: str | None = None) -> Restored:
    """The message as a worker gets it."""
    return restore(json.loads(json.dumps(encode(message, using))))


def deliver_all(store: FakeStore, rest: Rest | None = None) -> list[BatchFailure]:
    """Deliver everything that waits, as one batch."""
    return deliver(store.take(), rest or Rest())


def letters(store: FakeStore, *senders: str, **fields: Any) -> list[Any]:
    """The payloads of one queued message for each sender, with the sender as subject."""
    for sender in senders:
        message(**({"subject": sender, "from_email": f"{sender}@example.com"} | fields)).send()
    return store.take()
