"""Asking a person before something that can not be undone: the number of items is to be typed back."""

from __future__ import annotations

from django.core.management.base import CommandError


def confirm(question: str, number: int, refusal: str) -> None:
    """Ask; raises ``CommandError`` with ``refusal`` for any answer but the number, and when nobody can answer."""
    try:
        said = input(f"{question} Type the number: ")
    except EOFError:
        said = ""
    if said.strip() != str(number):
        raise CommandError(refusal)
