"""From an email message to the payload of a queue item. Runs where ``send`` was called.

The payload holds the *fields* of the message, because delivery backends for web services read fields, and what
rendering would decide anew at each attempt: Date and Message-ID. Rendering here also shows a bad message to the caller
who can do something about it: ``ValueError`` for header injection and invalid addresses, as with Django's own backends.

A message that renders itself (a subclass with its own ``message()``, say one that signs) cannot be rebuilt from its
fields; for it the payload holds the rendered bytes and the envelope's recipients, too.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date, datetime
from functools import lru_cache
from logging import getLogger
from typing import Any

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import Promise

from django_graceful.contrib.mail.parts import mime_bytes, pack, pack_attachment

FORMAT = 1
#: What rendering makes up when the message does not say it.
STAMPS = ("Date", "Message-ID")
_LISTS = ("to", "cc", "bcc", "reply_to")
#: Attributes that have a place of their own in the payload, or none.
_KNOWN = {
    *("subject", "body", "from_email", *_LISTS, "attachments", "alternatives", "extra_headers", "connection"),
    *("content_subtype", "encoding", "mixed_subtype", "alternative_subtype"),
}
#: Methods that a subclass may replace without changing what is rendered.
_HARMLESS = {"__init__", "send", "attach", "attach_file", "attach_alternative", "get_connection", "body_contains"}

logger = getLogger("django_graceful.contrib.mail")


def encode(message: EmailMessage, using: str | None) -> dict[str, Any]:
    """``message`` as a JSON object; ``using`` is the mailer that will deliver it (None: as the settings say then).

    Raises what rendering the message raises.
    """
    rendered = message.message()
    payload: dict[str, Any] = {
        "format": FORMAT,
        "using": using,
        "subject": _text(message.subject),
        "from": _text(message.from_email),
        **{name: [_text(address) or "" for address in getattr(message, name)] for name in _LISTS},
        "body": pack(message.body),
        "headers": {str(name): _header(value, name, rendered) for name, value in message.extra_headers.items()},
        "stamps": {name: str(rendered[name]) for name in STAMPS if name in rendered},
        "attachments": [pack_attachment(attachment) for attachment in message.attachments],
        "extra": _extra(message),
    }
    if isinstance(message, EmailMultiAlternatives):
        payload["alternatives"] = [[pack(content), str(mimetype)] for content, mimetype in message.alternatives]
    if message.content_subtype != "plain":
        payload["subtype"] = str(message.content_subtype)
    if isinstance(message.encoding, str):
        payload["charset"] = message.encoding
    if renders_itself(message):
        payload["mime"] = b64encode(mime_bytes(rendered)).decode()
        payload["recipients"] = [str(address) for address in message.recipients()]
    return payload


def renders_itself(message: EmailMessage) -> bool:
    """Whether the fields of ``message`` are not enough to render it as it would be rendered here."""
    own = set(vars(message)) & _rendering_methods()
    subtypes = (getattr(message, "mixed_subtype", "mixed"), getattr(message, "alternative_subtype", "alternative"))
    return (
        bool(own)
        or _overrides_rendering(type(message))
        or subtypes != ("mixed", "alternative")
        or not isinstance(message.encoding, str | None)
    )


@lru_cache(maxsize=1)
def _rendering_methods() -> frozenset[str]:
    names = {name for name in dir(EmailMultiAlternatives) if callable(getattr(EmailMultiAlternatives, name))}
    return frozenset(names - set(dir(object)) - _HARMLESS)


def _overrides_rendering(cls: type) -> bool:
    return any(vars(base).keys() & _rendering_methods() for base in _foreign(cls))


def _foreign(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base not in EmailMultiAlternatives.__mro__]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _header(value: Any, name: str, rendered: Any) -> Any:
    """The value of an extra header: text and numbers as they are, other objects (dates, addresses) as rendered."""
    if isinstance(value, str | int | float | None):
        return value
    return str(value if isinstance(value, Promise) else rendered.get(name, value))


def _extra(message: EmailMessage) -> dict[str, Any]:
    """Attributes that others have put on the message for their delivery backend (tags, metadata, ``send_at``…)."""
    given: dict[str, Any] = {}
    for base in reversed(_foreign(type(message))):
        given.update({name: value for name, value in vars(base).items() if not hasattr(value, "__get__")})
    found = {}
    for name, value in (given | vars(message)).items():
        if name in _KNOWN or name.startswith("_"):
            continue
        try:
            found[name] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError):
            logger.debug("attribute %r of a message can not be queued: %r", name, type(value))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    raise TypeError(f"{type(value).__name__} is not JSON")
