"""One module for each system, imported only by its own interpreter.

Each has ``push_each(numbers)``, which pushes one after the other, ``push_late(moment)``, and where the system has such
a call ``push_many(numbers)``. What is handled is :mod:`benchmarks.peers.handler`.
"""
