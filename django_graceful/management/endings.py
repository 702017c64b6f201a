"""What a supervised command's end means: the exit code, and the last line on standard error. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from django_graceful.console.text import clean, duration
from django_graceful.management.page import How, Wish

#: Added to a signal's number, as shells do it.
_BY_SIGNAL = 128


@dataclass(slots=True, frozen=True)
class Ending:
    """How it ended."""

    #: The exit code, or minus the number of the signal that ended it.
    status: int
    how: How = How.ITSELF
    #: The first signal that asked it to stop, and who has cancelled it, if anybody did.
    number: int = 0
    wish: Wish | None = None
    progress: tuple[float, float | None, str] | None = None
    #: Seconds since it was first asked to stop.
    seconds: float = 0.0


def exit_code(ending: Ending) -> int:
    """What the shell gets: 128 and the signal's number for what a signal stopped or killed."""
    if ending.status < 0:
        return _BY_SIGNAL - ending.status
    return stopped_code(ending.number) if ending.how is How.STOPPED else ending.status


def stopped_code(number: int) -> int:
    """The exit code of a command that was stopped by that signal; 1 when it was none."""
    return _BY_SIGNAL + number if number else 1


def sentence(ending: Ending) -> str:
    """What happened and how far it was, in one line; empty for a command that nobody asked to stop and nobody
    killed.
    """
    killed, asked = ending.status < 0, bool(ending.number or ending.wish)
    if ending.how is How.CANCELLED and not killed:
        said = cancelled(ending.wish) + how_far(ending, ",")
    elif ending.how is How.STOPPED and not killed:
        said = f"stopped{how_far(ending)}{_after(ending)}"
    elif killed:
        said = f"{_killed(-ending.status)}{how_far(ending)}{_after(ending)}"
    elif not asked:
        return ""
    else:
        end = f"failed, exit code {ending.status}," if ending.status else "finished"
        said = f"{end}{_after(ending)}"
    return f"{said}; {duration(ending.seconds)}" if asked else said


def cancelled(wish: Wish | None) -> str:
    """Who has cancelled it and why, as far as it is known."""
    who, note = (clean(wish.by), clean(wish.note)) if wish is not None else ("", "")
    return f"cancelled{f' by {who}' if who else ''}{f': {note}' if note else ''}"


def how_far(ending: Ending, before: str = "") -> str:
    """Such as ``" at 1200 of 5000 (Sunset)"``; empty when it never said."""
    if ending.progress is None:
        return ""
    done, total, step = ending.progress
    of = "" if total is None else f" of {_number(total)}"
    return f"{before} at {_number(done)}{of}{f' ({clean(step)})' if step else ''}"


def _after(ending: Ending) -> str:
    if ending.number:
        return f" after {_name(ending.number)}"
    return f" after it was {cancelled(ending.wish)}" if ending.wish is not None else ""


def _killed(number: int) -> str:
    return "killed" if number == signal.SIGKILL else f"ended by {_name(number)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
