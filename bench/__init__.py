"""Benchmarks: Atoll and its peers do the same work in the same run; the output has the ratios."""
