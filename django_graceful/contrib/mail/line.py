"""A connection that delivers: any email backend, with an ear for what an SMTP server says about single recipients."""

from __future__ import annotations

from dataclasses import dataclass, field
from logging import getLogger
from smtplib import SMTP
from typing import Any

from django.core.mail import EmailMessage

from django_graceful.contrib.mail.mailers import make_backend
from django_graceful.contrib.mail.verdicts import Reply

logger = getLogger("django_graceful.contrib.mail")


@dataclass(slots=True)
class Line:
    """A backend and what its server said. Django's SMTP backend drops the replies about single recipients, so the
    ``sendmail`` of its connection is listened to; with any other backend ``to`` and ``refused`` stay empty."""

    backend: Any
    #: The envelope's recipients of the last message.
    to: list[str] = field(default_factory=list)
    #: Those of them that were refused although others were accepted.
    refused: dict[str, Reply] = field(default_factory=dict)

    def open(self) -> None:
        """Connect. Raises what the backend raises."""
        self.backend.open()
        smtp = getattr(self.backend, "connection", None)
        if isinstance(smtp, SMTP):
            smtp.sendmail = self._listening(smtp.sendmail)  # type: ignore[method-assign]

    def send(self, message: EmailMessage) -> None:
        """Hand one message over. Raises what the backend raises."""
        self.to, self.refused = [], {}
        self.backend.send_messages([message])

    def close(self) -> None:
        """Disconnect. What goes wrong then changes nothing for what was delivered."""
        try:
            self.backend.close()
        except Exception:
            logger.debug("closing the connection failed", exc_info=True)

    def _listening(self, sendmail: Any) -> Any:
        def listening(sender: str, to: Any, *arguments: Any, **options: Any) -> dict[str, Reply]:
            self.to = [to] if isinstance(to, str) else list(to)
            self.refused = sendmail(sender, to, *arguments, **options)
            return self.refused

        return listening


def connect(using: str | None) -> Line:
    """A connection to whatever delivers for that mailer (None: as the settings say). Raises what its backend raises."""
    line = Line(make_backend(using))
    try:
        line.open()
    except BaseException:
        line.close()
        raise
    return line
