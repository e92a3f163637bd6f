"""Locks: every input of a build, pinned.

``model`` defines a lock, ``serialize`` reads and writes its file, ``path`` says where the file is.
``requirements`` collects what a recipe asks of packages; ``resolve`` turns that into a lock.
"""
