"""A machine's own recipe: what it adds to its image, or changes in it."""
