"""What would fail later in a recipe that is well written: lints, each with a name of its own.

A lint is a pure function over a ``Subject``: the recipe, its lock, and the facts that could be had.
Reading the facts is ``facts.py``'s; ``run.py`` holds the list and runs it. Nothing here changes
anything, and nothing here prints.
"""
