"""A failing mail queue does not feed itself, whatever the site's logging mails."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend as Outbox
from django.db import transaction
from django.utils.log import AdminEmailHandler

from django_graceful.contrib.mail.delivery import deliver
from django_graceful.contrib.mail.loop import about_mail, delivering, handled_record
from tests.mail.conftest import HAS_MAILERS, WAYS, FakeStore, Rest
from tests.mail.messages import message

runner = logging.getLogger("django_graceful.runner")
library = logging.getLogger("some.library")


class Broken(Outbox):
    """Fails, and says so on a logger of its own."""

    def send_messages(self, messages: Any) -> int:
        try:
            raise ConnectionRefusedError("the server is down")
        except ConnectionRefusedError:
            library.exception("mail failed")
            raise


@pytest.fixture
def to_admins() -> Iterator[logging.Handler]:
    """Everything from WARNING on is mailed to the admins."""
    handler = AdminEmailHandler()
    handler.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@pytest.fixture(params=WAYS)
def site(
    request: Any, configure: Callable[..., None], store: FakeStore, settings: Any, to_admins: logging.Handler
) -> str:
    """A site whose mail fails, and which mails its log; the way it is configured."""
    configure(request.param, f"{__name__}.Broken")
    settings.ADMINS = ["boss@example.com"] if HAS_MAILERS else [("Boss", "boss@example.com")]
    return str(request.param)


def run_once(store: FakeStore) -> int:
    """What a runner does with a batch that fails: log each item, put it back. How many failed."""
    failures = deliver(store.take(), Rest())
    payloads = [failure.payload for failure in failures]
    for failure in failures:
        runner.error("%s %s failed: %s", "mail", "0123", failure.error, exc_info=failure.error)
    from django_graceful.contrib.mail.queues import mail as queue

    queue.push_many(payloads)
    return len(payloads)


def test_the_number_of_queued_mails_does_not_grow_while_mail_fails(site: str, store: FakeStore) -> None:
    message().send()
    assert [run_once(store) for _ in range(10)] == [1] * 10
    assert store.subjects == ["Hello"]


def test_other_errors_are_mailed_all_the_same(site: str, store: FakeStore) -> None:
    library.error("something else")
    runner.error("%s %s failed: %s", "thumbnails", "0123", "no space")
    logging.getLogger("django_graceful.mailbox").error("about another thing")
    assert [subject.partition("] ")[2] for subject in store.subjects] == [
        "ERROR: something else",
        "ERROR: thumbnails 0123 failed: no space",
        "ERROR: about another thing",
    ]


def test_a_dropped_message_is_named_in_the_log_once(
    site: str, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    with delivering():
        assert message(subject="from inside").send() == 0
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["the message 'from inside' is not queued: it was sent while queued mail was being delivered"]
    assert store.records == []


def test_after_a_delivery_mail_is_queued_again(site: str, store: FakeStore) -> None:
    with pytest.raises(RuntimeError), delivering():
        raise RuntimeError
    message().send()
    assert store.subjects == ["Hello"]


def test_a_record_that_another_thread_handles_is_recognised_by_its_queue(
    site: str, store: FakeStore, to_admins: logging.Handler
) -> None:
    """``QueueHandler`` melts the arguments into the message; what is left is the ``extra``."""
    waiting: SimpleQueue[Any] = SimpleQueue()
    logger = logging.getLogger("django_graceful.elsewhere")
    logger.addHandler(handler := logging.handlers.QueueHandler(waiting))
    logger.propagate = False
    try:
        logger.error("%s failed", "mail", extra={"queue": "mail"})
        logger.error("%s failed", "thumbnails", extra={"queue": "thumbnails"})
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    for _ in range(2):
        to_admins.handle(waiting.get_nowait())
    assert [subject.partition("] ")[2] for subject in store.subjects] == ["ERROR: thumbnails failed"]


@pytest.mark.django_db(transaction=True)
def test_a_report_on_an_error_is_queued_although_the_error_rolls_its_transaction_back(
    site: str, store: FakeStore
) -> None:
    with transaction.atomic():
        library.error("it went wrong")
        message(subject="part of it").send()
        transaction.set_rollback(True)
    assert [subject.partition("] ")[2] for subject in store.subjects] == ["ERROR: it went wrong"]


def test_a_log_call_never_fails_because_its_report_can_not_be_queued(
    site: str, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.fill()
    library.error("it went wrong")
    assert [record.getMessage() for record in caplog.records] == ["mail could not be queued", "it went wrong"]


def test_outside_of_any_handler_no_record_is_found() -> None:
    assert handled_record() is None


@pytest.mark.parametrize(
    ("name", "arguments", "about"),
    [
        ("django_graceful.runner", ("mail", "0123"), True),
        ("django_graceful.contrib.mail", (), True),
        ("django_graceful.runner", ("thumbnails", "mail server"), False),
        ("django_graceful.runner", ({"mail": 1},), False),
        ("django_graceful.runner", None, False),
        ("some.library", ("mail",), False),
    ],
)
def test_a_record_is_about_mail_when_it_is_ours_and_names_the_queue(name: str, arguments: Any, about: bool) -> None:
    record = logging.LogRecord(name, logging.ERROR, "", 0, "", None, None)
    record.args = arguments
    assert about_mail(record) is about


def test_mail_sent_from_inside_a_delivery_is_not_delivered_either(site: str, store: FakeStore) -> None:
    message().send()
    run_once(store)
    assert mail.outbox == []
