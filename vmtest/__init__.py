"""Drives virtual machines for tests. Imports nothing of Atoll."""
