"""Locks: every input of a build, pinned.

``model`` defines a lock, ``serialize`` reads and writes its file, ``path`` says where the file is.
``requirements`` are what a recipe asks of packages; ``resolve`` turns them into a lock.
"""
