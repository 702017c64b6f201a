"""The demo's mail server, as a process."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from testproject.outbox.store import newest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.process
def test_what_the_mail_server_has_accepted_is_in_its_file_and_term_ends_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "outbox.jsonl"
    command = [sys.executable, "-u", "-m", "testproject.smtpserver", str(port), str(path)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"takes mail on port {port}\n"
        send_hello(port)
        (mail,) = newest(path, 10)
        server.terminate()
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.communicate()
    assert (mail.sender, mail.to, mail.subject) == ("wall@example.com", "ada@example.com", "Hello")
    assert mail.text == "There you are.\n"


def send_hello(port: int) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "wall@example.com", "ada@example.com", "Hello"
    message.set_content("There you are.")
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.send_message(message)
