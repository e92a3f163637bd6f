"""The recipe language: its schema, how it is read, merged and explained.

``schema_*`` say what there is; ``gather`` reads a recipe and what it includes, ``parse_tables``
judges each table, ``merge`` makes them one, ``fill`` makes a ``Recipe`` of it; ``parse`` is the way
in. ``explain`` and ``reference`` say the same to people. Nothing here knows what a build does.
"""
