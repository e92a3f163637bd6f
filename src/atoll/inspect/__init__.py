"""What a system consists of, and what differs between two systems.

``tree_source`` opens a tree, ``describe`` and ``attributes`` list what is in it, ``diff`` compares
two of them, ``sbom`` writes a software bill of materials.
"""
