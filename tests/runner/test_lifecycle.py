"""The state machine of a node: every phase with every event."""

from __future__ import annotations

import pytest

from django_graceful.lifecycle import Event, Phase, follow

R, Q, D, H, K, T, X = Phase
EXPECTED = {
    #               STOP HAMMER KILL QUIET RESUME IDLE
    R: (D, H, K, Q, R, R),
    Q: (D, H, K, Q, R, Q),
    D: (H, H, K, D, D, T),
    H: (K, H, K, H, H, T),
    K: (K, K, K, K, K, T),
    T: (T, T, T, T, T, T),
    X: (X, X, X, X, X, X),
}


@pytest.mark.parametrize("phase", Phase)
def test_every_edge(phase: Phase) -> None:
    assert tuple(follow(phase, event) for event in Event) == EXPECTED[phase]


def test_three_stops_lead_from_running_to_kill() -> None:
    phase = Phase.RUNNING
    for _ in range(3):
        phase = follow(phase, Event.STOP)
    assert phase is Phase.KILL
