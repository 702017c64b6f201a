"""The email backend that a site configures: it puts messages into the queue ``mail`` and returns.

Runs wherever mail is sent. Inside a database transaction the message is queued when the transaction commits, and not
at all when it rolls back; except for what a log handler sends, which often reports the very error that rolls back.

With ``MAILERS`` (Django 6.1)::

    MAILERS = {
        "default": {
            "BACKEND": "django_graceful.contrib.mail.backend.EmailBackend",
            "OPTIONS": {"deliver_using": "smtp"},
        },
        "smtp": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"host": "localhost"}},
    }

Before that, ``EMAIL_BACKEND`` names this backend and ``GRACEFUL["MAIL"]["DELIVER_USING"]`` the one that delivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections, transaction
from django.db.utils import DEFAULT_DB_ALIAS

from django_graceful.conf import get_conf
from django_graceful.contrib.mail.encoding import encode
from django_graceful.contrib.mail.loop import handled_record, refusal, warn
from django_graceful.contrib.mail.mailers import configured, mailer_problem
from django_graceful.contrib.mail.queues import mail
from django_graceful.contrib.mail.restored import Restored
from django_graceful.outbox import read_on_commit
from django_graceful.queues import PushOptions


class EmailBackend(BaseEmailBackend):
    """Queues every message. Options: ``deliver_using``, an alias of ``MAILERS``; ``on_commit``, True (wait for the
    transaction of the default database), a database alias, False, or ``"outbox"`` (``"outbox:<alias>"``): the message
    is written into that transaction and queued exactly when it commits, whoever is killed (see the outbox).

    Raises ``InvalidMailer`` (``ImproperlyConfigured``) for unknown options and for a ``deliver_using`` that is missing,
    unknown, or queues again. A message can not carry a user name and password of its own.
    """

    def __init__(
        self,
        *,
        deliver_using: str | None = None,
        on_commit: bool | str | None = None,
        fail_silently: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("username") is not None or kwargs.get("password") is not None:
            raise ImproperlyConfigured(
                "queued mail can not carry a user name or password; configure the delivering backend"
            )
        super().__init__(**kwargs)
        self.fail_silently = fail_silently
        self.deliver_using = deliver_using
        given = get_conf().mail.on_commit if on_commit is None else on_commit
        self.on_commit, self.outbox = read_on_commit(given)
        self._check(kwargs.get("alias"))

    def send_messages(self, email_messages: Iterable[EmailMessage]) -> int:
        """Queue the messages in one write, all or none, and return how many; those without recipients do not count.

        Raises ``ValueError`` for a message that can not be rendered and what
        :meth:`~django_graceful.queues.Queue.push` raises (at the commit, when it waits for that). With
        ``fail_silently``, and when a log handler sends, that becomes a warning in the log: to report an error is no
        reason for another one.
        """
        record = handled_record()
        messages = [message for message in email_messages or () if message.recipients()]
        reason = refusal(record)
        if reason:
            return _drop(messages, reason)
        if not messages:
            return 0
        # a report on an error must not be lost with the transaction that the error rolls back
        database = "" if record else self._database()
        if record or self.fail_silently:
            return len(messages) if _survives(self._queue_silently, messages, database) else 0
        self._queue(messages, database)
        return len(messages)

    def _queue(self, messages: list[EmailMessage], database: str) -> None:
        payloads = [encode(message, self.deliver_using) for message in messages]
        mail.push_many(payloads, **self._waiting(database))

    def _queue_silently(self, messages: list[EmailMessage], database: str) -> None:
        payloads = [encode(message, self.deliver_using) for message in messages]
        if database and not self.outbox and not mail.options.outbox:
            push = partial(mail.push_many, payloads, outbox=False)
            transaction.on_commit(partial(_survives, push), using=database)
        else:
            mail.push_many(payloads, **self._waiting(database))

    def _waiting(self, database: str) -> PushOptions:
        """How a push waits for that database. For none it does not, whatever the queue says."""
        if not database:
            return {"outbox": False}
        return {"outbox": database} if self.outbox else {"on_commit": database}

    def _database(self) -> str:
        """The alias of the database whose transaction is open and to be waited for; empty when there is none."""
        named = self.outbox or self.on_commit
        alias = DEFAULT_DB_ALIAS if named is True else named
        # asking the connection itself connects to nothing: mail goes out when the database is down
        return alias if alias and connections[alias].in_atomic_block else ""

    def _check(self, alias: str | None) -> None:
        if not apps.is_installed("django_graceful.contrib.mail"):
            raise ImproperlyConfigured(
                "add 'django_graceful.contrib.mail' to INSTALLED_APPS; nobody would deliver the mail"
            )
        mailers = configured()
        if alias is None or mailers is None:
            if self.deliver_using is not None:
                raise ImproperlyConfigured(
                    "'deliver_using' is an option of MAILERS; without it: GRACEFUL['MAIL']['DELIVER_USING']"
                )
            return
        problem = mailer_problem(alias, self.deliver_using, mailers)
        if problem is not None:
            from django.core.mail import InvalidMailer

            raise InvalidMailer(f"{problem.what}. {problem.hint}", alias=alias)


def _survives(function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        function(*arguments)
    except Exception:
        warn("mail could not be queued", exc_info=True)
        return False
    return True


def _drop(messages: list[EmailMessage], reason: str) -> int:
    for message in messages:
        if isinstance(message, Restored):
            raise ImproperlyConfigured("the backend that delivers queued mail sends it back to the queue")
        warn("the message %r is not queued: %s", str(message.subject), reason)
    return 0
