"""What a recipe says of a root, as steps; each is kept under what decides it.

``step`` is what a step is, ``chain`` runs them, ``packages`` and ``settings`` have them in their
order; the others are one kind of step each, or what such a step stands on. What makes a tree of the
root afterwards is in ``finish``.
"""
