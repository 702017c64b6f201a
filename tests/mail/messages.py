"""A table of everything that an email message can hold: name → a function that makes a new one."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage as PythonMessage
from email.message import MIMEPart
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import lazystr
from django.utils.translation import gettext_lazy

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(range(256))
#: Django 6.0 renders with Python's modern email package, and takes its parts as attachments.
MODERN = django.VERSION >= (6, 0)


def message(**fields: Any) -> EmailMessage:
    given = {"subject": "Hello", "body": "Hi there", "from_email": "me@example.com", "to": ["you@example.com"]}
    return EmailMessage(**(given | fields))


def alternatives(*pairs: tuple[Any, str], **fields: Any) -> EmailMultiAlternatives:
    given = {"subject": "Hello", "body": "Hi there", "from_email": "me@example.com", "to": ["you@example.com"]}
    found = EmailMultiAlternatives(**(given | fields))
    for content, mimetype in pairs:
        found.attach_alternative(content, mimetype)
    return found


def with_attributes(**attributes: Any) -> EmailMessage:
    found = message(body=attributes.pop("body", "Grüße"))
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def attached(*arguments: Any, **fields: Any) -> EmailMessage:
    found = message(**fields)
    found.attach(*arguments)
    return found


def appended(part: Any) -> EmailMessage:
    """Past ``attach()``, which warns about old parts on new Djangos."""
    found = message()
    found.attachments.append(part)
    return found


def legacy_part() -> MIMEBase:
    part = MIMEBase("application", "x-thing", name="thing.bin")
    part.set_payload("From here\nto there\n")
    part["Content-Disposition"] = 'attachment; filename="thing.bin"'
    return part


def legacy_image() -> MIMEImage:
    part = MIMEImage(PNG, "png")
    part.add_header("Content-ID", "<logo@inline>")
    part.add_header("Content-Disposition", "inline", filename="logo.png")
    return part


def legacy_tree() -> MIMEMultipart:
    tree = MIMEMultipart("related")
    tree.attach(MIMEText("<img src='cid:logo@inline'>", "html", "utf-8"))
    tree.attach(legacy_image())
    tree.attach(MIMEApplication(b"\x00\x01", "pdf"))
    return tree


def modern_image() -> MIMEPart:
    part = MIMEPart()
    part.set_content(PNG, "image", "png", disposition="inline", cid="<logo@inline>", filename="lögo.png")
    return part


def modern_message() -> PythonMessage:
    part = PythonMessage()
    part["X-Inner"] = "Füße " * 30
    part.set_content("From the inside\nwith ümlauts\n")
    part.add_attachment(b"\x00\xff", "application", "pdf", filename="a.pdf")
    return part


def related() -> EmailMultiAlternatives:
    """The way of Django 5.2 to show an image inside the HTML."""
    found = alternatives(("<img src='cid:logo@inline'>", "text/html"))
    found.mixed_subtype = "related"  # type: ignore[misc]
    found.attach(legacy_image())
    return found


RFC822 = b"Subject: inner\r\nFrom: a@example.com\r\nTo: b@example.com\r\n\r\nFrom the inner body\r\n"

MESSAGES: dict[str, Callable[[], EmailMessage]] = {
    "plain": message,
    "empty": lambda: message(subject="", body=""),
    "no subject": lambda: with_attributes(subject=None),
    "unicode": lambda: message(subject="Grüße aus Köln 🎉", body="Zürich\n日本語\n", to=["Jörg Ä <joerg@example.com>"]),
    "long lines": lambda: message(subject="word " * 60, body="x" * 2000 + "\nFrom me\n.dot\n..\n"),
    "line ends": lambda: message(body="one\r\ntwo\rthree\n\n"),
    "lazy": lambda: message(
        subject=lazystr("Subject"),
        body=lazystr("Body"),
        from_email=lazystr("lazy@example.com"),
        to=[lazystr("you@x.org")],
    ),
    "translated": lambda: message(subject=gettext_lazy("Yes"), body=gettext_lazy("No")),
    "everybody": lambda: message(
        to=["a@example.com", "B <b@example.com>"],
        cc=["c@example.com"],
        bcc=["d@example.com"],
        reply_to=["r@example.com"],
    ),
    "only bcc": lambda: message(to=[], bcc=["hidden@example.com"]),
    "idna": lambda: message(to=["you@bücher.example"], from_email="Ich <ich@müller.example>"),
    "headers": lambda: message(
        headers={
            "X-Tag": "ä b c",
            "List-Unsubscribe": "<https://example.com/u>",
            "X-Lazy": lazystr("soft"),
        }
    ),
    "given stamps": lambda: message(
        headers={"message-id": "<mine@example.com>", "Date": "Mon, 01 Jan 2024 10:00:00 -0000"}
    ),
    "headers instead of fields": lambda: message(
        headers={"From": "Boss <boss@example.com>", "To": "list@example.com", "Reply-To": "no@example.com"}
    ),
    "html": lambda: with_attributes(content_subtype="html", body="<p>Grüße</p>"),
    "latin1": lambda: with_attributes(encoding="iso-8859-1"),
    "alternatives": lambda: alternatives(("<b>Hällo</b>", "text/html"), ("<html amp4email>", "text/x-amp-html")),
    "lazy alternative": lambda: alternatives((str(lazystr("<b>soft</b>")), "text/html")),
    "binary alternative": lambda: alternatives((b"\x00\x01\xff", "application/x-thing")),
    "alternatives and attachments": lambda: alternatives(
        ("<b>Hi</b>", "text/html"),
        attachments=[("a.txt", "tëxt", "text/plain"), ("b.pdf", b"%PDF\xff", "application/pdf")],
    ),
    "text attachment": lambda: attached("notes.txt", "From a line\nümlaut\n"),
    "bytes as text": lambda: attached("notes.txt", "ümlaut".encode(), "text/plain"),
    "binary that says it is text": lambda: attached("notes.txt", b"\xff\xfe\x00", "text/plain"),
    "binary attachment": lambda: attached("päge.png", PNG, "image/png"),
    "attachment without a name": lambda: attached(None, b"\x00", "application/pdf"),
    "guessed type": lambda: attached("data.json", b"{}"),
    "text for a binary type": lambda: attached("a.bin", "just text", "application/octet-stream"),
    "calendar": lambda: attached("e.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR\n", "text/calendar"),
    "only attachments": lambda: attached("a.bin", b"\x00", "application/pdf", body=""),
    "rfc822 from Django": lambda: attached(
        "m.eml", alternatives(("<i>in</i>", "text/html"), headers=STAMPED), "message/rfc822"
    ),
    "rfc822 from bytes": lambda: attached("m.eml", RFC822, "message/rfc822"),
    "rfc822 from text": lambda: attached("m.eml", RFC822.decode(), "message/rfc822"),
    "rfc822 from Python": lambda: attached("m.eml", message_from_bytes(RFC822), "message/rfc822"),
    "legacy part": lambda: appended(legacy_part()),
    "legacy image": lambda: appended(legacy_image()),
    "legacy tree": lambda: appended(legacy_tree()),
}
STAMPED = {"Message-ID": "<inner@example.com>", "Date": "Mon, 01 Jan 2024 10:00:00 -0000"}
if MODERN:
    MESSAGES |= {
        "modern part": lambda: attached(modern_image()),
        "modern message": lambda: attached(modern_message()),
        "modern rfc822": lambda: attached("m.eml", message_from_bytes(RFC822, policy=policy.default), "message/rfc822"),
        "header objects": lambda: message(
            headers={
                "Resent-Date": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
                "Sender": Address("S", "s", "example.com"),
            }
        ),
        "address objects": lambda: message(to=[Address("Jörg", "joerg", "example.com")]),
    }
else:
    MESSAGES |= {"related": related, "number as header": lambda: message(headers={"X-Number": 7})}
