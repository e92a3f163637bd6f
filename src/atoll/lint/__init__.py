"""Lints: rules that find problems in a valid recipe before they occur in a build or on a machine.

A lint is a pure function of a ``LintSubject``: the recipe, its lock, and the known facts.
``context`` reads the facts, ``run`` has the list of all lints and runs them. Nothing here prints or
changes a system; only package lists in the cache are refreshed.
"""
