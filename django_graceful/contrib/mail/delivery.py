"""Delivering a batch of queued mail. Runs in a worker; the outcome of one message never touches another's.

Messages for one mailer share one connection, which is opened again only after an error that leaves it unusable. When a
server accepts a message for some recipients and not for others, the others become items of their own: those who have
got it do not get it again, and the dead letter names those who never will.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from logging import getLogger
from smtplib import SMTPRecipientsRefused
from typing import Any

from django_graceful import current_process
from django_graceful.batches import BatchFailure
from django_graceful.contrib.mail.line import Line, connect
from django_graceful.contrib.mail.loop import delivering
from django_graceful.contrib.mail.restored import Restored, restore
from django_graceful.contrib.mail.verdicts import Refusals, discard, keeps_connection, sort_refused, verdict
from django_graceful.exceptions import Cancelled, Discard, GracefulError

logger = getLogger("django_graceful.contrib.mail")

#: Pushes a message for the recipients that are left; the flag says whether to wait before trying.
PushRest = Callable[[dict[str, Any], bool], None]


@dataclass(slots=True, eq=False)
class Letter:
    """One message of the batch, and what became of it: delivered, or an error."""

    payload: Any
    message: Restored
    delivered: bool = False
    error: BaseException | None = None


def deliver(payloads: list[Any], push_rest: PushRest) -> list[BatchFailure]:
    """Deliver the messages of these payloads; what was not delivered, with its error.

    Dead at once: what can not be decoded or rendered, and what a server refuses with 5xx. When the run is stopped, what
    was not reached is named with the ``Cancelled``, and what was delivered stays delivered.
    """
    letters: list[Letter] = []
    failures: list[BatchFailure] = []
    for payload in payloads:
        try:
            letters.append(Letter(payload, restore(payload)))
        except Exception as error:
            failures.append(BatchFailure(payload, Discard(f"not a queued message: {type(error).__name__}: {error}")))
    try:
        with delivering():
            for using, group in _by_mailer(letters).items():
                _deliver_group(using, group, push_rest)
    except Cancelled as stop:
        for letter in letters:
            if not letter.delivered and letter.error is None:
                letter.error = stop
    return failures + [BatchFailure(letter.payload, letter.error) for letter in letters if letter.error is not None]


def _by_mailer(letters: list[Letter]) -> dict[str | None, list[Letter]]:
    groups: dict[str | None, list[Letter]] = {}
    for letter in letters:
        groups.setdefault(letter.payload["using"], []).append(letter)
    return groups


def _deliver_group(using: str | None, letters: list[Letter], push_rest: PushRest) -> None:
    line: Line | None = None
    try:
        for number, letter in enumerate(letters):
            try:
                line = line or connect(using)
            except Exception as error:
                for left in letters[number:]:  # it would be the same for all of them
                    left.error = error
                return
            if not _deliver(line, letter, push_rest):
                line.close()
                line = None
    finally:
        if line is not None:
            line.close()


def _deliver(line: Line, letter: Letter, push_rest: PushRest) -> bool:
    """Deliver one message; whether the connection can be used for the next one."""
    try:
        line.send(letter.message)
    except SMTPRecipientsRefused as error:
        refused = sort_refused(line.to or error.recipients, error.recipients)
        if refused.never and refused.later:
            _split(letter, refused, push_rest)
        else:
            letter.error = discard(error) if refused.never else error
        return keeps_connection(error)
    except Exception as error:
        letter.error = verdict(error)
        return keeps_connection(error)
    if line.refused:
        _split(letter, sort_refused(line.refused, line.refused), push_rest)
    if letter.error is None:
        letter.delivered = True
        _note_delivered(letter)
    return True


def _note_delivered(letter: Letter) -> None:
    """From now on the message is not sent again, even if this process is killed before the batch ends."""
    process = current_process()
    if process is not None:
        process.handled(letter.payload)


def _split(letter: Letter, refused: Refusals, push_rest: PushRest) -> None:
    """Replace a message by one for the recipients that may be reached later and one for those that never will."""
    logger.info("mail %r was refused for %s", letter.payload["subject"], ", ".join(refused.never + refused.later))
    try:
        if refused.never:
            push_rest({**letter.payload, "recipients": refused.never}, False)
        if refused.later:
            push_rest({**letter.payload, "recipients": refused.later}, True)
        letter.delivered = True
    except GracefulError as error:  # nobody is forgotten: all of them get it, some perhaps twice
        letter.error = error
