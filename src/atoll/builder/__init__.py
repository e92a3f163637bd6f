"""Building: a recipe and its lock become a tree in the store.

``build`` calls the parts in order: ``steps`` change a root as the recipe says, and ``make_tree``
turns the root into a tree, with the help of ``finish``.
"""
