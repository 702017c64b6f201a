"""When to try again: exponential backoff with jitter, as a pure function.

The rule is the field's common one (River's and Sidekiq's retry policies): the wait doubles with each attempt, is
capped, and is spread by up to a quarter in both directions, so that items which failed together do not come back
together, not even at the cap.
"""

from __future__ import annotations

#: The largest power of two that the wait is multiplied with; beyond it every cap has long been reached.
_MAX_DOUBLINGS = 32


def backoff(attempt: int, base: float, longest: float, spread: float) -> float:
    """The seconds to wait after failed attempt number ``attempt`` (1 is the first).

    ``base`` is the wait after the first attempt and ``longest`` what no wait exceeds, both in seconds. ``spread`` is a
    random number in [0, 1): 0 gives three quarters of the wait, 1 would give five quarters.
    """
    wait = min(longest / 1.25, base * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    return wait * (0.75 + spread / 2)
