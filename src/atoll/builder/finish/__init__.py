"""What turns a root with everything installed into a tree: layout, presets, initrd, checks.

``make_tree`` above calls these in order. ``debian_layout`` goes the other way, for derived recipes.
"""
