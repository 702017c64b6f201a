"""Bodies, attachments and MIME parts as JSON, and back. Nothing is lost: bytes stay bytes, text stays text.

Text is itself, bytes are ``{"base64": …}``, a MIME part is its bytes and the kind of object that it was.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.message import EmailMessage as PythonMessage
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from functools import partial
from io import BytesIO
from typing import Any

from django.core.mail import EmailAttachment, EmailMessage


class StoredPart(MIMEBase):
    """A part that was a ``MIMEBase`` before it was stored, and is one for whoever asks."""

    def __init__(self, *, policy: Any = policy.compat32) -> None:
        Message.__init__(self, policy=policy)


def mime_bytes(part: Message) -> bytes:
    """``part`` as it would be written inside a message: lines that start with ``From`` are left alone."""
    out = BytesIO()
    BytesGenerator(out, mangle_from_=False).flatten(part)
    return out.getvalue()


def pack(content: Any) -> Any:
    """A body, the content of an alternative or an attachment, or a MIME part, as JSON.

    Lazy text is evaluated, Django's messages are rendered.
    """
    if content is None:
        return None
    if isinstance(content, EmailMessage):
        content = content.message()
    if isinstance(content, Message):
        return {
            "mime": _base64(mime_bytes(content)),
            "kind": next(k for k, (c, _) in _KINDS.items() if isinstance(content, c)),
        }
    if isinstance(content, bytes | bytearray | memoryview):
        return {"base64": _base64(content)}
    return str(content)


def unpack(stored: Any) -> Any:
    """What :func:`pack` was given, or its like: the same text, the same bytes, the same bytes in the same kind of part.

    Raises whatever exception it comes to for anything else.
    """
    if stored is None or isinstance(stored, str):
        return stored
    if "base64" in stored:
        return b64decode(stored["base64"], validate=True)
    _, parse = _KINDS[stored["kind"]]
    return parse(b64decode(stored["mime"], validate=True))


def pack_attachment(attachment: Any) -> dict[str, Any]:
    """One entry of ``EmailMessage.attachments`` as JSON: a MIME part, or name, content and type."""
    if isinstance(attachment, Message):
        return {"part": pack(attachment)}
    name, content, mimetype = attachment
    return {"name": None if name is None else str(name), "content": pack(content), "type": str(mimetype)}


def unpack_attachment(stored: dict[str, Any]) -> Any:
    """What :func:`pack_attachment` was given, or its like."""
    if "part" in stored:
        return unpack(stored["part"])
    return EmailAttachment(stored["name"], unpack(stored["content"]), stored["type"])


def _base64(data: bytes | bytearray | memoryview) -> str:
    return b64encode(data).decode()


#: The kinds of MIME parts, the most special first: what they are instances of, and how they are read again.
_KINDS: dict[str, tuple[type, Callable[[bytes], Message]]] = {
    "base": (MIMEBase, partial(message_from_bytes, _class=StoredPart)),
    "message": (PythonMessage, partial(message_from_bytes, _class=PythonMessage, policy=policy.default)),
    "part": (MIMEPart, partial(message_from_bytes, _class=MIMEPart, policy=policy.default)),
    "other": (Message, message_from_bytes),
}
