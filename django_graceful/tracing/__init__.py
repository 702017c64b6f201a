"""OpenTelemetry: spans that join a push and the runs of what it pushed, where the site traces at all.

A push is a span of kind PRODUCER; its W3C trace context travels in the item's meta (``trace``, which readers that do
not know it leave alone). A run is a span of kind CONSUMER below it; that of a batch has a link to the push of each of
its items. Attributes are those of the semantic conventions for messaging.

Nothing is imported here that is not imported already: as long as nobody in this process has set a tracer provider,
:func:`tracer` is one look into a dict, and no trace of this module is on any item. A span that can not be begun is
logged, and its push or run goes on without it.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import django_graceful

logger = logging.getLogger("django_graceful.tracing")

#: What items call the trace context of their push, in their meta.
META: Final = "trace"

#: Who has not imported this has set no provider: a look that is cheaper than :func:`tracer`.
API: Final = "opentelemetry.trace"
_NAME: Final = "django_graceful"
#: The provider that was there last, and its tracer.
_known: tuple[Any, Any] = (None, None)
#: Where the API keeps the provider that was set: asking it looks into the environment each time that there is none.
_SET: Final = "_TRACER_PROVIDER"


def tracer() -> Any:
    """The tracer of this process (``opentelemetry.trace.Tracer``); None when no provider of tracers is set."""
    api = sys.modules.get(API)
    if api is None or (_known[0] is not None and vars(api).get(_SET, api) is None):
        return None
    return _tracer_of(api)


def _tracer_of(api: Any) -> Any:
    global _known
    ask = getattr(api, "get_tracer_provider", None)
    if ask is None:  # it is being imported just now
        return None
    provider = ask()
    if provider is not _known[0]:
        inert = tuple(found for name in ("ProxyTracerProvider", "NoOpTracerProvider") if (found := vars(api).get(name)))
        found = None if isinstance(provider, inert) else provider.get_tracer(_NAME, django_graceful.__version__)
        _known = provider, found
    return _known[1]
