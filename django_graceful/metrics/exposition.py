"""The metrics as text, in the form that whoever asks accepts: that of Prometheus, or OpenMetrics.

Importing this needs the extra ``metrics``; without it ``ImproperlyConfigured`` says what to install.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_graceful.metrics.gathering import look
from django_graceful.stores.base import Counts

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    from django_graceful.metrics.families import families
except ImportError as error:
    raise ImproperlyConfigured(
        "metrics need the package prometheus-client: pip install 'django-graceful-queues[metrics]'"
    ) from error


class Collector:
    """A collector for any registry of ``prometheus_client``: ``REGISTRY.register(Collector())``.

    Each :meth:`collect` asks the stores anew (:func:`~django_graceful.metrics.gathering.look`, whose arguments these
    are) and takes less than a second. Registering it asks nothing.
    """

    def __init__(
        self, aliases: Iterable[str] | None = None, counts: Mapping[str, Mapping[str, Counts]] | None = None
    ) -> None:
        self._aliases = None if aliases is None else list(aliases)
        self._counts = counts

    def collect(self) -> Iterable[Any]:
        """The metrics as they are now."""
        return families(look(self._aliases, self._counts))

    def describe(self) -> Iterable[Any]:
        """Their names and labels."""
        return families([])


def registry(collector: Collector) -> Any:
    """A registry of its own for this collector: nothing of the process that answers is in it."""
    found: Any = CollectorRegistry(auto_describe=False)
    found.register(collector)
    return found


def expose(collector: Collector, accept: str = "") -> tuple[bytes, str]:
    """The metrics and their content type, in the form that the ``Accept`` header asks for."""
    encode, content_type = choose_encoder(accept)
    return bytes(encode(registry(collector))), str(content_type)
