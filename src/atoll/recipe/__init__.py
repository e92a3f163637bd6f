"""One text file to one tree: the recipe's language and its build."""
