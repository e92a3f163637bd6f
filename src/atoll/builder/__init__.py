"""From a recipe and its lock to a tree in the store.

``build`` is the order of it. ``steps`` change a root as the recipe says; ``make_tree`` makes a tree
of the root, by way of ``finish``.
"""
