"""A root becomes a tree: Atoll's shape, normalised, with initrd and what it says of itself.

``finish`` is the order of it; ``unshape`` goes the other way, for recipes that derive from a tree.
What a recipe asks for is done before, in ``steps``.
"""
