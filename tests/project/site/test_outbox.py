from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

from django.test import Client

from testproject.outbox.store import Mail, count, keep, newest, parse


def a_mail(number: int, text: str = "") -> Mail:
    return Mail(1_800_000_000.0 + number, "wall@example.com", "ada@example.com", f"Number {number}", text)


def test_a_mail_is_kept_with_who_what_and_when() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Wand <wall@example.com>", "x@example.com", "Grüße"
    message.set_content("Schön, dass du da bist.\n")
    assert parse(message.as_bytes(), ["ada@example.com", "bob@example.com"], 5.0) == Mail(
        5.0, "Wand <wall@example.com>", "ada@example.com, bob@example.com", "Grüße", "Schön, dass du da bist.\n"
    )


def test_a_mail_without_a_text_is_kept_too() -> None:
    assert parse(b"Subject: x\r\nContent-Type: image/png\r\n\r\n\x89PNG", ["a@b.c"], 0.0).text == ""


def test_the_newest_mails_come_first(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    for number in range(5):
        keep(path, a_mail(number))
    assert [mail.subject for mail in newest(path, 3)] == ["Number 4", "Number 3", "Number 2"]
    assert count(path) == 5


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    for number in range(60):
        keep(path, a_mail(number, "x" * 10_000))
    found = newest(path, 100)
    assert [mail.subject for mail in found] == [f"Number {59 - n}" for n in range(len(found))]
    assert 10 < len(found) < 60
    assert count(path) == 60


def test_a_half_written_line_hides_no_other_mail(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    keep(path, a_mail(1))
    with path.open("ab") as file:
        file.write(b'{"at": 3, "sen\n[]\n')
    keep(path, a_mail(2))
    assert [mail.subject for mail in newest(path, 9)] == ["Number 2", "Number 1"]


def test_the_page_shows_the_mails_escaped_and_links_their_addresses(client: Client, settings: Any) -> None:
    keep(settings.OUTBOX, a_mail(1, "<script> http://localhost:8000/x"))
    page = client.get("/outbox/").text
    assert "<b>1</b> mail arrived" in page
    assert "&lt;script&gt;" in page
    assert 'href="http://localhost:8000/x"' in page


def test_the_page_is_there_before_any_mail(client: Client) -> None:
    assert "No mail yet." in client.get("/outbox/").text
