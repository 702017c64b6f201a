"""One producer process, run by the interpreter of its system: ``python -m benchmarks.peers.produce MODULE HOW NUMBER``.

``HOW`` is ``single``, ``many`` (100 a call; both push the numbers from 0 on, and print the items a second) or ``late``.
"""

from __future__ import annotations

import random
import sys
import time
from importlib import import_module
from typing import Any

#: Items of one call of ``push_many``.
BULK = 100

#: Seconds between two pushes of ``late``: not even, so as not to fall into step with who polls.
PAUSE = (0.02, 0.06)


def single(system: Any, number: int) -> float:
    """Items a second, one after the other; the first one, which connects, is not counted."""
    system.push_each([0])
    begin = time.perf_counter()
    system.push_each(range(1, number))
    return (number - 1) / (time.perf_counter() - begin)


def many(system: Any, number: int) -> float:
    """Items a second in calls of 100; the first one, which connects, is not counted."""
    system.push_each([0])
    begin = time.perf_counter()
    for first in range(1, number, BULK):
        system.push_many(range(first, min(first + BULK, number)))
    return (number - 1) / (time.perf_counter() - begin)


def late(system: Any, number: int) -> float:
    """Push moments, about 25 a second; how many a second."""
    chance = random.Random(7)
    begin = time.perf_counter()
    for _ in range(number):
        time.sleep(chance.uniform(*PAUSE))
        system.push_late(time.monotonic_ns())
    return number / (time.perf_counter() - begin)


if __name__ == "__main__":
    act = {"single": single, "many": many, "late": late}[sys.argv[2]]
    print(act(import_module(sys.argv[1]), int(sys.argv[3])))
