"""Which backend delivers. One place that knows about ``MAILERS`` (Django 6.1) and ``EMAIL_BACKEND`` (before)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import mail
from django.utils.module_loading import import_string

from django_graceful.conf import get_conf
from django_graceful.options import nearest

_DEFAULT = "default"
_SMTP = "django.core.mail.backends.smtp.EmailBackend"


@dataclass(slots=True, frozen=True)
class Problem:
    """Why a queued mailer can not work: the number of the system check, what is wrong, what to do."""

    number: int
    what: str
    hint: str


def configured() -> dict[str, dict[str, Any]] | None:
    """``MAILERS``; None where Django or the site does not have it."""
    return getattr(settings, "MAILERS", None) if hasattr(mail, "mailers") else None


def is_queued(path: Any) -> bool:
    """Whether ``path`` names our backend, or a subclass of it. What can not be imported is not."""
    from django_graceful.contrib.mail.backend import EmailBackend

    try:
        found = import_string(path)
    except (ImportError, TypeError, AttributeError):
        return False
    return isinstance(found, type) and issubclass(found, EmailBackend)


def mailer_problem(alias: str, deliver_using: Any, mailers: dict[str, dict[str, Any]]) -> Problem | None:
    """What is wrong with ``deliver_using`` of the queued mailer ``alias``."""
    others = [name for name, entry in mailers.items() if name != alias and not is_queued(entry.get("BACKEND", _SMTP))]
    hint = f"Name the mailer that really delivers: {', '.join(map(repr, others)) or 'add one to MAILERS'}."
    if not deliver_using:
        return Problem(1, "OPTIONS must define 'deliver_using'", hint)
    if deliver_using not in mailers:
        return Problem(2, f"'deliver_using' names no mailer: {deliver_using!r}{nearest(deliver_using, others)}", hint)
    if is_queued(mailers[deliver_using].get("BACKEND", _SMTP)):
        return Problem(3, f"'deliver_using' names {deliver_using!r}, which queues, too, and would never deliver", hint)
    return None


def make_backend(using: str | None) -> Any:
    """The backend that delivers, not yet connected.

    ``using`` is an alias of ``MAILERS``; None: as the settings say now. Raises what Django raises for a mailer that can
    not be made. One that queues is made, and refuses what comes out of the queue.
    """
    mailers = configured()
    if mailers is None:
        return _loud(mail.get_connection(get_conf().mail.deliver_using))
    if using is None:
        using = mailers.get(_DEFAULT, {}).get("OPTIONS", {}).get("deliver_using", _DEFAULT)
    return _loud(mail.mailers[using])


def _loud(backend: Any) -> Any:
    if vars(backend).get("fail_silently"):
        backend.fail_silently = False  # there is nobody here to be silent for: a failure must reach the queue
    return backend
