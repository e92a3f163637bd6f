"""Locks: what they hold, how they are made from a recipe, and how a build goes by them.

``values`` is a lock, ``text`` its file, ``place`` where that is. ``wishes`` is what a recipe wants
of packages, ``make`` turns it into a lock or moves one. ``relock`` is ``atoll lock``, ``follow`` is
what a build does with a lock.
"""
