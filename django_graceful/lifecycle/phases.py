"""The phases of a node, ``running → draining → hammer → terminate → done``: one way, one step at a time; pure.

The rules are Gitea's (shutdown, hammer, terminate; a second request hammers), with an end: a third request kills, and
nothing waits for ever. :func:`follow` is the whole state machine; :mod:`django_graceful.runner.master` acts on it.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a node is in its life."""

    RUNNING = "running"
    #: Running, but takes no new work; reversible.
    QUIET = "quiet"
    DRAINING = "draining"
    HAMMER = "hammer"
    #: What is still busy is being killed.
    KILL = "kill"
    TERMINATE = "terminate"
    DONE = "done"


class Event(StrEnum):
    """What can move a node."""

    STOP = "stop"
    HAMMER = "hammer"
    KILL = "kill"
    QUIET = "quiet"
    RESUME = "resume"
    #: Nothing runs any more.
    IDLE = "idle"


_ENDING = (Phase.DRAINING, Phase.HAMMER, Phase.KILL)
_AT_WORK = (Phase.RUNNING, Phase.QUIET)
_MOVES = {
    Event.HAMMER: dict.fromkeys((*_AT_WORK, Phase.DRAINING), Phase.HAMMER),
    Event.KILL: dict.fromkeys((*_AT_WORK, *_ENDING), Phase.KILL),
    Event.QUIET: {Phase.RUNNING: Phase.QUIET},
    Event.RESUME: {Phase.QUIET: Phase.RUNNING},
    Event.IDLE: dict.fromkeys(_ENDING, Phase.TERMINATE),
    Event.STOP: {
        Phase.RUNNING: Phase.DRAINING,
        Phase.QUIET: Phase.DRAINING,
        Phase.DRAINING: Phase.HAMMER,
        Phase.HAMMER: Phase.KILL,
    },
}


def follow(phase: Phase, event: Event) -> Phase:
    """The phase that follows; the same one when the event changes nothing."""
    return _MOVES[event].get(phase, phase)
