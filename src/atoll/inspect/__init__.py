"""Inspect systems: describe one, compare two, and write a software bill of materials.

``tree_source`` opens a tree, ``describe`` and ``attributes`` list its properties, ``diff`` compares
two descriptions, ``sbom`` writes SPDX. ``tree_records`` reads the recipe and lock in a tree.
"""
