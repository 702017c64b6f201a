"""``metrics``: what the URL of the metrics answers, for node_exporter's textfile collector or a look by hand.

With no runner it opens the store, as all sub-commands do, and so tells more than a web process can.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from django_graceful.console.desks import Desks
from django_graceful.console.report import Look, Report, Subcommand
from django_graceful.exceptions import StoreError
from django_graceful.stores.base import Counts

METRICS_KEYS = """\
metrics: a list of objects
  metric, labels (an object), value"""


def run_metrics(desks: Desks, options: dict[str, Any], look: Look) -> Report:
    """All metrics in Prometheus' text form."""
    try:
        from django_graceful.metrics.exposition import Collector, expose, registry
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    counts: dict[str, dict[str, Counts]] = {alias: found for alias in desks.aliases if (found := _counts(desks, alias))}
    collector = Collector(desks.aliases, counts)
    if not options["json"]:
        return Report({}, expose(collector)[0].decode().rstrip("\n"))
    samples = [sample for family in registry(collector).collect() for sample in family.samples]
    shown = [{"metric": one.name, "labels": dict(one.labels), "value": one.value} for one in samples]
    return Report({"metrics": shown}, "")


def _counts(desks: Desks, alias: str) -> dict[str, Counts]:
    try:
        return desks.counts(alias)
    except StoreError:  # graceful_up says so
        return {}


METRICS = Subcommand("all numbers in Prometheus' text form", METRICS_KEYS, run_metrics)
