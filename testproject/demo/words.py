"""What the demo says, as plain functions."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from django_graceful.stores.base import Counts

_GREETING = """
  Lichtwand is open:  {url}/
  The admin:          {url}/admin/   {login}

  Try this:
    {url}/work/        queue quick, slow, flaky and hopeless jobs; cancel one
    {url}/newsletter/  log in and send an issue to 250 subscribers
    {url}/outbox/      see the mails arrive
    Ctrl-C in the middle of it, and `make demo` again: nothing is lost.
    kill -9 {runner} ends the runner without a warning: the next one goes on where it was.
"""


def greeting(url: str, name: str, password: str | None, runner: int | None) -> str:
    """Where the site is and what to try. ``runner`` is the process id of ``runqueues``."""
    login = f"{name} / {password or '(the password that you have set)'}"
    return _GREETING.format(url=url, login=login, runner=runner)


def ended_words(name: str, code: int, *, expected: bool) -> str:
    """One line about a program that has ended with exit code ``code`` (negative: by that signal)."""
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    if not expected:
        return f"{name} has ended unexpectedly, {how}. Stopping everything."
    return f"{name} has stopped." if code == 0 else f"{name} has ended {how}."


def closing_words(before: Iterable[Counts], after: Iterable[Counts], place: str) -> str:
    """What became of the queues: how much was done since ``before``, and what is left in ``place``."""
    counts = list(after)
    done = sum(c.done for c in counts) - sum(c.done for c in before)
    left = sum(c.waiting + c.scheduled + c.retrying + c.running for c in counts)
    dead = sum(c.dead for c in counts)
    words = f"{_items(done)} done this time."
    if left:
        words += f" {_items(left, 'waiting')} {'is' if left == 1 else 'are'} kept in {place} for the next start."
    else:
        words += " Nothing is left to do."
    return words + (f" {_items(dead, 'dead')} can be looked at and tried again." if dead else "")


def _items(number: int, kind: str = "") -> str:
    return f"{number:,} {kind + ' ' if kind else ''}item{'' if number == 1 else 's'}"
