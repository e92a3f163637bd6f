"""The ``run`` functions of verbs that import much, so that ``--help`` does not load all that."""
