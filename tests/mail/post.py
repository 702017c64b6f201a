"""A real SMTP server in a thread, which does as it is told, and remembers what it got."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


@dataclass
class Delivered:
    """One message as it came over the wire."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def parsed(self) -> Any:
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def subject(self) -> str:
        return str(self.parsed["Subject"])


@dataclass
class Post:
    """The server's handler: answers by sender or by recipient, 250 to everything else."""

    senders: dict[str, str] = field(default_factory=dict)
    recipients: dict[str, str] = field(default_factory=dict)
    #: The answer after the message itself, by sender; "drop" cuts the connection instead.
    data: dict[str, str] = field(default_factory=dict)
    delivered: list[Delivered] = field(default_factory=list)
    connections: int = 0
    asked: list[str] = field(default_factory=list)
    host: str = ""
    port: int = 0

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        reply = self.senders.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.mail_from = address
        return reply

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.asked.append(address)
        reply = self.recipients.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        reply = self.data.get(envelope.mail_from, "250 OK")
        if reply == "drop":
            server.transport.abort()
            return "421 gone"
        if reply.startswith("250"):
            self.delivered.append(Delivered(envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return reply

    @property
    def subjects(self) -> list[str]:
        return [delivered.subject for delivered in self.delivered]


class PostOffice(Controller):
    """Serves one :class:`Post` at ``hostname`` and ``port``."""

    def __init__(self, post: Post) -> None:
        self.post = post
        super().__init__(post, hostname="127.0.0.1", port=free_port())

    def factory(self) -> SMTP:
        self.post.connections += 1
        return super().factory()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
