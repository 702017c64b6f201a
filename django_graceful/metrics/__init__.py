"""Prometheus metrics of all queues and runners (``pip install 'django-graceful-queues[metrics]'``).

``path("", include("django_graceful.metrics.urls"))`` adds ``/metrics``, and ``manage.py graceful metrics`` prints the
same. Nothing is counted in the process that answers: it asks the stores and the runners, so every web process tells the
same. A site that has a registry of its own registers a :class:`~django_graceful.metrics.exposition.Collector` there.

:mod:`.gathering` asks, :mod:`.families` (pure) makes metrics of the answers, :mod:`.exposition` makes text of those.
"""

from __future__ import annotations
