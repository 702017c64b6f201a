"""Side by side with other systems on one server: ``make bench-peers``, or ``python -m benchmarks.peers``.

The harness never imports a peer: each runs in processes of its own, by the interpreter that has it.
"""
