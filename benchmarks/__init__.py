"""Benchmarks: ``python -m benchmarks`` (or ``make bench``). Figures go into ``docs/performance.md``; nothing here is
a test.
"""
