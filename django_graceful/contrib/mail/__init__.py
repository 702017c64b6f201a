"""Queued mail: an email backend that puts messages into the queue ``mail``, and the handler that delivers them.

A message whose ``send`` returned survives every crash and is delivered by the runner through the site's real backend,
at least once. It keeps its Message-ID and Date over all attempts, so that receivers can tell a repetition.
"""

from __future__ import annotations
