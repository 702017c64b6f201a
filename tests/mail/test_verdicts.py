"""What an error of delivery means."""

from __future__ import annotations

import json
import smtplib
from email.errors import HeaderParseError
from typing import Any

import pytest

from django_graceful.contrib.mail.verdicts import discard, is_final, keeps_connection, sort_refused, verdict
from django_graceful.exceptions import Discard

FINAL = [
    smtplib.SMTPSenderRefused(550, b"who are you", "me@here"),
    smtplib.SMTPDataError(554, b"spam"),
    ValueError("Header values may not contain linefeed"),
    HeaderParseError("bad header"),
    UnicodeEncodeError("ascii", "ü", 0, 1, "no"),
]
PASSING = [
    smtplib.SMTPSenderRefused(451, b"later", "me@here"),
    smtplib.SMTPSenderRefused(530, b"log in first", "me@here"),
    smtplib.SMTPDataError(452, b"disk full"),
    smtplib.SMTPDataError(421, b"closing"),
    smtplib.SMTPAuthenticationError(535, b"bad password"),
    smtplib.SMTPConnectError(554, b"no service"),
    smtplib.SMTPHeloError(501, b"bad name"),
    smtplib.SMTPServerDisconnected("gone"),
    smtplib.SMTPNotSupportedError("no STARTTLS"),
    ConnectionRefusedError(),
    TimeoutError(),
    json.JSONDecodeError("not JSON", "<html>", 0),
    RuntimeError("a bug"),
]


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_will_be_the_same_next_time_is_dead_at_once(error: Exception) -> None:
    assert isinstance(verdict(error), Discard)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_be_mended_is_retried_with_its_own_error(error: Exception) -> None:
    assert verdict(error) is error


@pytest.mark.parametrize(
    ("code", "final"), [(550, True), (500, True), (599, True), (450, False), (421, False), (535, False), (0, False)]
)
def test_only_5xx_that_is_not_about_the_login_is_final(code: int, final: bool) -> None:
    assert is_final(code) is final


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (smtplib.SMTPRecipientsRefused({"a@x": (550, b"no")}), True),
        (smtplib.SMTPRecipientsRefused({"a@x": (550, b"no"), "b@x": (421, b"closing")}), False),
        (smtplib.SMTPSenderRefused(550, b"no", "me"), True),
        (smtplib.SMTPSenderRefused(421, b"closing", "me"), False),
        (smtplib.SMTPDataError(554, b"no"), True),
        (smtplib.SMTPDataError(421, b"closing"), False),
        (smtplib.SMTPServerDisconnected("gone"), False),
        (ValueError("bad header"), True),
        (ConnectionResetError(), False),
        (RuntimeError("a bug"), False),
    ],
    ids=repr,
)
def test_the_connection_is_kept_only_where_it_is_sure_to_be_usable(error: Exception, kept: bool) -> None:
    assert keeps_connection(error) is kept


def test_refused_recipients_are_divided_and_those_without_a_reply_can_be_tried_again() -> None:
    replies = {"no@x": (550, b"no"), "later@x": (451, b"later")}
    found = sort_refused(["no@x", "later@x", "unasked@x"], replies)
    assert (found.never, found.later) == (["no@x"], ["later@x", "unasked@x"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (smtplib.SMTPRecipientsRefused({"a@x": (550, b"no such user")}), "a@x: 550 no such user"),
        (smtplib.SMTPDataError(554, b"sp\xe4m"), "554 sp\ufffdm"),
        (smtplib.SMTPDataError(554, "spam"), "554 spam"),
        (ValueError("two lines"), "ValueError: two lines"),
    ],
)
def test_the_reason_of_a_dead_letter_says_what_the_server_said(error: Any, reason: str) -> None:
    assert discard(error).reason == reason
