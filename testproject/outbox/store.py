"""The file in which the demo's SMTP server, and nobody else, keeps what arrived: one mail a line, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

#: How much of the file's end is read for the newest mails, in bytes.
_TAIL = 1 << 18
_CHUNK = 1 << 20


@dataclass(slots=True, frozen=True)
class Mail:
    """One mail as it arrived. ``at`` is in seconds since the epoch."""

    at: float
    sender: str
    to: str
    subject: str
    text: str


def parse(content: bytes, recipients: Sequence[str], at: float) -> Mail:
    """The mail with that content, for those recipients of its envelope."""
    message = message_from_bytes(content, EmailMessage, policy=policy.default)
    body = message.get_body(("plain", "html"))
    text = str(body.get_content()).replace("\r\n", "\n") if body is not None else ""
    return Mail(at, str(message["From"] or ""), ", ".join(recipients), str(message["Subject"] or ""), text)


def keep(path: Path, mail: Mail) -> None:
    """Append one mail."""
    with path.open("ab") as file:
        file.write(json.dumps(asdict(mail)).encode() + b"\n")


def count(path: Path) -> int:
    """How many mails have arrived."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))


def newest(path: Path, limit: int) -> list[Mail]:
    """Up to ``limit`` mails, the last one first. What a killed server left half written is passed over."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = max(0, path.stat().st_size - _TAIL)
        file.seek(start)
        lines = file.read().split(b"\n")[1 if start else 0 :]
    mails = []
    for line in reversed(lines):
        try:
            mails.append(Mail(**json.loads(line)))
        except (ValueError, TypeError):
            continue
        if len(mails) == limit:
            break
    return mails
