"""What an error of delivery means: try again, give up, or keep the connection. Decisions as plain functions.

A server's 5xx about a sender, a recipient or a message is final, and so is a message that can not be rendered.
Everything else may be mended, also a refused login: by the server, the network, or whoever configures the site.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from json import JSONDecodeError
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPResponseException, SMTPSenderRefused

from django_graceful.exceptions import Discard

#: 5xx replies that ask for (another) login.
_LOGIN = {530, 534, 535, 538}
_CLOSING = 421

#: What a server said about a recipient.
Reply = tuple[int, bytes]


@dataclass(slots=True)
class Refusals:
    """The recipients of one message that the server refused, by whether it may accept them later."""

    later: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)


def is_final(code: int) -> bool:
    """Whether a server's reply will be the same next time."""
    return 500 <= code < 600 and code not in _LOGIN


def sort_refused(recipients: Iterable[str], replies: Mapping[str, Reply]) -> Refusals:
    """Divide ``recipients``, none of whom has got the message. Without a reply, one can be tried again."""
    found = Refusals()
    for address in recipients:
        (found.never if is_final(replies.get(address, (0, b""))[0]) else found.later).append(address)
    return found


def verdict(error: Exception) -> Exception:
    """The error that the item ends with: ``error`` itself to try again, ``Discard`` to give up.

    Not for ``SMTPRecipientsRefused``, which :func:`sort_refused` decides.
    """
    if isinstance(error, SMTPSenderRefused | SMTPDataError):
        return discard(error) if is_final(error.smtp_code) else error
    if isinstance(error, OSError | JSONDecodeError):  # a web service that answers with something else than JSON
        return error
    return discard(error) if isinstance(error, ValueError | MessageError) else error


def discard(error: Exception) -> Discard:
    """``error`` as the reason why a message is dead."""
    if isinstance(error, SMTPRecipientsRefused):
        replies = error.recipients.items()
        return Discard("; ".join(f"{address}: {code} {_text(reply)}" for address, (code, reply) in replies))
    if isinstance(error, SMTPResponseException):
        return Discard(f"{error.smtp_code} {_text(error.smtp_error)}")
    return Discard(f"{type(error).__name__}: {error}")


def keeps_connection(error: Exception) -> bool:
    """Whether the next message can go over the same connection after ``error``."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code != _CLOSING for code, _ in error.recipients.values())
    if isinstance(error, SMTPSenderRefused | SMTPDataError):
        return error.smtp_code != _CLOSING
    return isinstance(error, ValueError | MessageError) and not isinstance(error, OSError)


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode(errors="replace")
