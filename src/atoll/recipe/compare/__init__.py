"""What systems are made of, and what differs between two of them.

``opened`` is a tree to be looked at, ``describe`` and ``facets`` what there is to know of it,
``difference`` what two of them do not share. ``mismatch`` is another question: where builds that
should have given one tree differ.
"""
