"""Arguments that several sub-commands take."""

from __future__ import annotations

import getpass
import os
from argparse import ArgumentTypeError
from collections.abc import Callable

from django.core.management.base import CommandParser


def at_least(least: int) -> Callable[[str], int]:
    """A whole number, ``least`` or more."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"must be a whole number, {least} or more, not {text!r}")
        return int(text)

    return whole


def seconds(text: str) -> float:
    """Seconds, more than none."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < 1e9:
        raise ArgumentTypeError(f"must be a number of seconds, not {text!r}")
    return found


def add_timeout(parser: CommandParser, default: float) -> None:
    """--timeout."""
    text = f"the most seconds to wait ({default:g})"
    parser.add_argument("--timeout", type=seconds, default=default, metavar="SECONDS", help=text)


def who() -> str:
    """Who gives the orders: the user's name, kept with what he cancels."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this uid, as in many containers
        return f"uid {os.getuid()}"
