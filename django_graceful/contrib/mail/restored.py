"""From the payload of a queue item to a message that any email backend can deliver. Runs in a worker.

The message is an ``EmailMessage`` (or an ``EmailMultiAlternatives``) with the fields of the one that was sent, so that
a backend may read fields or render it, as it likes. Rendered any number of times, it has the same Date and Message-ID.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import date, datetime
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.message import EmailMessage as PythonMessage
from email.policy import EmailPolicy
from io import BytesIO
from typing import Any

from django.core.mail import EmailAlternative, EmailMessage, EmailMultiAlternatives

from django_graceful.contrib.mail.encoding import FORMAT
from django_graceful.contrib.mail.parts import unpack, unpack_attachment


class StoredMIME(PythonMessage):
    """A rendered message, written out again byte for byte as far as nobody changes it.

    Its methods take the arguments of Django 5.2 (``linesep``) and of Python (``policy``).
    """

    def as_bytes(self, unixfrom: bool = False, policy: Any = None, linesep: str | None = None) -> bytes:
        """The message as bytes."""
        out = BytesIO()
        BytesGenerator(out, policy=policy or self.policy).flatten(self, unixfrom, linesep)
        return out.getvalue()

    def as_string(
        self, unixfrom: bool = False, maxheaderlen: int | None = None, policy: Any = None, linesep: str | None = None
    ) -> str:
        """The message as text."""
        return self.as_bytes(unixfrom, policy, linesep).decode(errors="surrogateescape")


class Restored(EmailMessage):
    """A message that came out of the queue."""

    stamps: dict[str, str]
    mime: bytes | None
    envelope: list[str] | None

    def message(self, **options: Any) -> Any:
        """Render it: as it was rendered when it was sent, or from its fields with the Date and Message-ID of then."""
        if self.mime is not None:
            chosen: EmailPolicy[Any] = options.get("policy") or policy.default
            return message_from_bytes(self.mime, StoredMIME, policy=chosen.clone(refold_source="none"))
        found = super().message(**options)
        for name, value in self.stamps.items():
            found.replace_header(name, value)
        return found

    def recipients(self) -> list[str]:
        """The addresses of the envelope: all of the message's, or those that are still to be reached."""
        return super().recipients() if self.envelope is None else list(self.envelope)


class RestoredAlternatives(Restored, EmailMultiAlternatives):
    """A message with alternatives that came out of the queue."""


def restore(payload: Any) -> Restored:
    """The message of ``payload``. Raises whatever exception it comes to when the payload is not one of ours."""
    if payload["format"] != FORMAT:
        raise ValueError(f"mail format {payload['format']!r} is not known to this release, which writes {FORMAT}")
    if not isinstance(payload["using"], str | None):
        raise TypeError(f"a mailer's alias is text, not {payload['using']!r}")
    alternatives = payload.get("alternatives")
    message = Restored() if alternatives is None else RestoredAlternatives()
    message.subject, message.from_email, message.body = payload["subject"], payload["from"], unpack(payload["body"])
    message.to, message.cc, message.bcc = list(payload["to"]), list(payload["cc"]), list(payload["bcc"])
    message.reply_to = list(payload["reply_to"])
    message.extra_headers = dict(payload["headers"])
    message.attachments = [unpack_attachment(stored) for stored in payload["attachments"]]
    if isinstance(message, RestoredAlternatives):
        message.alternatives = [EmailAlternative(unpack(content), mimetype) for content, mimetype in alternatives]
    if "subtype" in payload:
        message.content_subtype = payload["subtype"]
    if "charset" in payload:
        message.encoding = payload["charset"]
    for name, value in payload["extra"].items():
        setattr(message, name, _plain(value))
    message.stamps, message.envelope = dict(payload["stamps"]), payload.get("recipients")
    message.mime = b64decode(payload["mime"], validate=True) if "mime" in payload else None
    return message


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1:
            (name, text), *_ = value.items()
            if name in _DATES:
                return _DATES[name](text)
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


_DATES: dict[str, Any] = {"$datetime": datetime.fromisoformat, "$date": date.fromisoformat}
