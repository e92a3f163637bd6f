"""The recipe language: its schema, and code that reads, merges and explains recipes.

``schema_*`` define the tables and keys. ``includes`` reads a recipe and the files it includes,
``parse_tables`` checks each table, ``merge`` joins them, ``convert`` makes the ``Recipe``;
``parse`` is the entry point. ``explain`` and ``reference`` describe the language to people.
"""
