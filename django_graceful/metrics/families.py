"""From what was seen of the stores to Prometheus' metrics. Pure.

What a runner counts begins at zero with it (``host`` and ``pid`` name it); what a store counts survives all of them.
Numbers that nobody could tell in time are left out, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from django_graceful.items import State
from django_graceful.metrics.gathering import Json, Seen
from django_graceful.runner.figures import EDGES

_QUEUE: Final = ("store", "queue")
_RUNNER: Final = ("host", "pid")
_KINDS: Final = ("runner", "web", "command", "worker")
_LIMITS: Final = (*map(floatToGoString, EDGES), "+Inf")


def families(stores: Sequence[Seen]) -> Iterator[Metric]:
    """All metrics of these stores."""
    yield from _of_stores(stores)
    yield from _of_queues(stores)
    yield from _of_runs(stores)
    yield from _of_runners(stores)


def _of_stores(stores: Sequence[Seen]) -> Iterator[Metric]:
    up = _gauge("up", "Whether the runner (leveldb) or the server (redis) answered for the store.", "store")
    backlog = _gauge("backlog_bytes", "Pushed on this host, and not yet taken in by a runner or server.", "store")
    nodes = _gauge("nodes", "OS processes that take part.", "store", "kind")
    silent = _gauge("silent_nodes", "OS processes that live and did not answer.", "store")
    for seen in stores:
        up.add_metric([seen.alias], seen.counts is not None)
        if seen.backlog is not None:
            backlog.add_metric([seen.alias], seen.backlog)
        if seen.nodes is not None:
            kinds = [str(node.get("kind")) for node in seen.nodes if not node.get("silent")]
            for kind in dict.fromkeys((*_KINDS, *kinds)):
                nodes.add_metric([seen.alias, kind], kinds.count(kind))
            silent.add_metric([seen.alias], len(seen.nodes) - len(kinds))
    yield from (up, backlog, nodes, silent)


def _of_queues(stores: Sequence[Seen]) -> Iterator[Metric]:
    items = _gauge("items", "Items by state; those that run are in flight.", *_QUEUE, "state")
    oldest = _gauge("oldest_age_seconds", "Since the item was pushed that waits longest; 0: none waits.", *_QUEUE)
    paused = _gauge("paused", "Whether the queue is paused.", *_QUEUE)
    pushed = _counter("pushed", "Items pushed since the store was made.", *_QUEUE)
    merged = _counter("duplicates", "Pushes that found their unique key taken, since the store was made.", *_QUEUE)
    for seen in stores:
        if seen.counts is None:
            for name, number in (seen.waiting or {}).items():
                items.add_metric([seen.alias, name, str(State.WAITING)], number)
        for name, counts in (seen.counts or {}).items():
            queue = [seen.alias, name]
            for state in State:
                items.add_metric([*queue, str(state)], getattr(counts, state))
            oldest.add_metric(queue, counts.oldest_age or 0)
            paused.add_metric(queue, counts.paused)
            pushed.add_metric(queue, counts.pushed)
            merged.add_metric(queue, counts.duplicates)
    yield from (items, oldest, paused, pushed, merged)


def _of_runs(stores: Sequence[Seen]) -> Iterator[Metric]:
    labels = (*_QUEUE, *_RUNNER)
    outcomes = _counter("outcomes", "Executions of items that ended, by outcome.", *labels, "outcome")
    crashes = _counter("crashes", "Executions whose worker died under them.", *labels)
    waited = _histogram("wait_seconds", "From the push, or the time it was delayed to, to the run.", *labels)
    ran = _histogram("run_seconds", "Runs, of one item or of one batch.", *labels)
    for seen in stores:
        for runner in _runners(seen):
            for name, figures in _dict(_dict(runner.get("figures")).get(seen.alias)).items():
                values = [seen.alias, name, *_who(runner)]
                for outcome, number in _dict(figures.get("outcomes")).items():
                    outcomes.add_metric([*values, outcome], number)
                crashes.add_metric(values, figures.get("crashes", 0))
                _observe(waited, values, figures.get("waited"))
                _observe(ran, values, figures.get("ran"))
    yield from (outcomes, crashes, waited, ran)


def _of_runners(stores: Sequence[Seen]) -> Iterator[Metric]:
    workers = _gauge("workers", "Worker processes of a runner.", *_RUNNER, "state")
    memory = _gauge("resident_bytes", "Memory of a runner; what workers share counts in each.", *_RUNNER, "role")
    since = _gauge("runner_start_time_seconds", "When the runner started, since the epoch.", *_RUNNER)
    phase = _gauge("runner_phase", "1 for the phase in which the runner is.", *_RUNNER, "phase")
    runners = {str(runner["node"]): runner for seen in stores for runner in _runners(seen)}
    for runner in runners.values():
        who = _who(runner)
        for state, number in _dict(runner.get("workers")).items():
            workers.add_metric([*who, state], number)
        for role, size in _dict(runner.get("memory")).items():
            memory.add_metric([*who, role], size)
        since.add_metric(who, runner.get("since", 0))
        phase.add_metric([*who, str(runner.get("phase"))], 1)
    yield from (workers, memory, since, phase)


def _runners(seen: Seen) -> Iterator[Json]:
    for node in seen.nodes or ():
        if node.get("kind") == "runner" and not node.get("silent"):
            yield node


def _who(runner: Json) -> list[str]:
    return [str(runner.get("host")), str(runner.get("pid"))]


def _observe(family: Any, labels: list[str], shown: Any) -> None:
    """Add a histogram, if its buckets are ours: during a deploy, a runner may be of another release."""
    counts = _dict(shown).get("counts")
    if isinstance(counts, list) and len(counts) == len(_LIMITS):
        family.add_metric(labels, list(zip(_LIMITS, accumulate(counts), strict=True)), shown.get("seconds", 0))


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _maker(kind: Callable[..., Any]) -> Callable[..., Any]:
    return lambda name, text, *labels: kind(f"graceful_{name}", text, labels=labels)


_gauge, _counter = _maker(GaugeMetricFamily), _maker(CounterMetricFamily)
_histogram = _maker(HistogramMetricFamily)
