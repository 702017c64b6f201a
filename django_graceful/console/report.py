"""What a sub-command gives back, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.color import Style

from django_graceful.console.desks import Desks


@dataclass(slots=True, frozen=True)
class Look:
    """How text may look: the terminal's width in columns (None: it is no terminal, nothing is cut) and its colours.
    ``say`` shows a line at once, to tell of progress.
    """

    screen: int | None
    style: Style
    say: Callable[[str], None] = lambda line: None

    def heading(self, text: str) -> str:
        """A heading, coloured where there are colours."""
        return str(self.style.MIGRATE_HEADING(text))


@dataclass(slots=True, frozen=True)
class Report:
    """``data`` is the JSON form, ``text`` the one for people; ``failure`` makes the command exit with 1, saying so."""

    data: dict[str, Any]
    text: str
    failure: str = ""


@dataclass(slots=True, frozen=True)
class Subcommand:
    """One word after ``manage.py graceful``. ``keys`` documents its JSON and is shown with ``--help``."""

    help: str
    keys: str
    run: Callable[[Desks, dict[str, Any], Look], Report]
    arguments: Callable[[CommandParser], None] = lambda parser: None
