"""From a root with everything installed to a tree: presets, image layout, checks, initrd.

``builder.make_tree`` calls these in order. ``debian_layout`` is the reverse, for derived recipes.
"""
