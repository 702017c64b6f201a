"""A failing mail queue does not feed itself.

Failing mail is logged; a site may mail its error log; that mail would fail, too, and so on. The circle is cut where a
message enters the queue: a message that is sent by the delivery of another one, or by a log handler that reports on
the mail queue, is dropped with a warning. This needs nothing in the site's ``LOGGING``, and holds in every process.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

#: The name of the queue.
QUEUE = "mail"

_delivering: ContextVar[bool] = ContextVar("django_graceful_mail_delivering", default=False)
_warning: ContextVar[bool] = ContextVar("django_graceful_mail_warning", default=False)
_HANDLE = logging.Handler.handle.__code__

logger = logging.getLogger("django_graceful.contrib.mail")


@contextmanager
def delivering() -> Iterator[None]:
    """The body delivers queued mail: what it sends is not queued."""
    token = _delivering.set(True)
    try:
        yield
    finally:
        _delivering.reset(token)


def handled_record() -> logging.LogRecord | None:
    """The log record that a handler is handling around the caller, in this thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _HANDLE:
            record = frame.f_locals.get("record")
            return record if isinstance(record, logging.LogRecord) else None
        frame = frame.f_back
    return None


def about_mail(record: logging.LogRecord) -> bool:
    """Whether a log record is about the mail queue: a record of ours that names it."""
    if not record.name.startswith("django_graceful"):
        return False
    named = (getattr(record, "queue", None), *(record.args or ()))
    return record.name == logger.name or any(isinstance(name, str) and name == QUEUE for name in named)


def refusal(record: logging.LogRecord | None) -> str:
    """Why a message that is being sent must not be queued; empty when it may. ``record`` is the one being handled."""
    if _delivering.get():
        return "it was sent while queued mail was being delivered"
    if record is not None and about_mail(record):
        return "it reports on the mail queue itself"
    return ""


def warn(text: str, *arguments: object, exc_info: bool = False) -> None:
    """Log what became of a message that is not queued; not when that line itself makes a log handler send mail."""
    if _warning.get():
        return
    token = _warning.set(True)
    try:
        logger.warning(text, *arguments, exc_info=exc_info)
    finally:
        _warning.reset(token)
