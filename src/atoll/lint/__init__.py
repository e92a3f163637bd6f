"""Lints: rules that find in a valid recipe what would fail later.

A lint is a pure function over a ``Subject``: the recipe, its lock, and the facts that are known.
``context`` reads the facts, ``run`` has the list of all lints and runs them. Nothing here changes
anything or prints.
"""
