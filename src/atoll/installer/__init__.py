"""Onto a computer: what it has, what an install would do to it, and doing it."""
