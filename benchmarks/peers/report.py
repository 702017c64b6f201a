"""What is printed: one table, what was set, and how we stand."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.peers.catalog import SYSTEMS
from benchmarks.peers.killing import NAP, NUMBER, Aftermath
from benchmarks.peers.measures import Found

_HEAD = (
    "",
    "push /s",
    "bulk /s",
    "drain /s",
    "latency p50 / p99, ms",
    "kill -9: lost",
    "done twice",
    "last done after",
)
_OURS, _RAW = "django_graceful", "raw-redis"


def table(found: Mapping[str, Found], after: Mapping[str, Aftermath]) -> Iterator[str]:
    """The lines of a Markdown table: median (smallest to largest) of the rounds."""
    yield _row(_HEAD)
    yield _row(["---"] * len(_HEAD))
    for name, figures in found.items():
        rates = [_spread(values) for values in (figures.push, figures.bulk, figures.drain)]
        yield _row([name, *rates, _delays(figures.delays), *_aftermath(after.get(name))])


def notes(found: Mapping[str, Found], after: Mapping[str, Aftermath], versions: Mapping[str, Any]) -> Iterator[str]:
    """What belongs to the table: versions and settings, rounds that do not count, how long was waited."""
    yield f"{platform.platform()}, {len(os.sched_getaffinity(0))} processors, Python {platform.python_version()}"
    for name, figures in found.items():
        numbers = ", ".join(f"{package} {version}" for package, version in versions[name].items())
        yield f"{name}: {numbers}; {SYSTEMS[name].settings}"
        yield from (f"{name}: a void round: {reason}" for reason in figures.void)
    if after:
        waited = [aftermath.waited for aftermath in after.values()]
        bounds = f"{min(waited):.0f} to {max(waited):.0f} s"
        yield f"kill -9: {NUMBER} items of {NAP * 1000:.0f} ms; waited {bounds} after the restart"
    yield from _standing(found)


def percentile(values: list[float], part: float) -> float:
    """The value below which that part of the values is."""
    return sorted(values)[int(len(values) * part)]


def _standing(found: Mapping[str, Found]) -> Iterator[str]:
    drains = {name: statistics.median(figures.drain) for name, figures in found.items() if figures.drain}
    peers = {name: rate for name, rate in drains.items() if name not in (_OURS, _RAW)}
    if _OURS in drains and peers:
        best = max(peers, key=lambda name: peers[name])
        yield f"drain: {drains[_OURS] / peers[best]:.1f} times that of {best}, the fastest peer"
    if _OURS in found and _RAW in found:
        ours, raw = (statistics.median(found[name].push) for name in (_OURS, _RAW))
        yield f"push: {ours / raw:.2f} of the LPUSH loop"


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})" if values else "none"


def _delays(values: list[float]) -> str:
    return f"{percentile(values, 0.5):.2f} / {percentile(values, 0.99):.2f}" if values else "none"


def _aftermath(after: Aftermath | None) -> list[str]:
    if after is None:
        return ["not run"] * 3
    return [str(after.verdict.lost), str(after.verdict.doubled), f"{after.last:.1f} s"]
