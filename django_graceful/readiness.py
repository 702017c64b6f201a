"""Whether this OS process should get new requests: what the view ``health/ready`` answers.

It should until it is asked to stop (its phase is no longer ``running``), or until somebody switches its readiness off:
``manage.py graceful shutdown --web`` does that, so that a load balancer has looked before the server stops listening.
Any thread may ask and switch; the child of a fork is ready again.
"""

from __future__ import annotations

import os

from django_graceful.lifecycle import Phase, node


class _Switch:
    """Of this OS process."""

    off = False


def switch(*, ready: bool) -> None:
    """Let this process be ready, or not, whatever its phase."""
    _Switch.off = not ready


def reasons() -> list[str]:
    """Why this process should get no new requests, in words; empty: it is ready."""
    found = [] if node.phase is Phase.RUNNING else [f"this process was asked to stop ({node.phase})"]
    return [*found, "readiness was switched off"] if _Switch.off else found


def _renew() -> None:
    _Switch.off = False


os.register_at_fork(after_in_child=_renew)
