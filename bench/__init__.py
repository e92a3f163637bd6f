"""Measures Atoll beside its peers on the same work in the same run; prints the ratios."""
