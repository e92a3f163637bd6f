"""Drift: everything on a machine that its image does not explain."""
