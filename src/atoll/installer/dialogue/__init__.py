"""What ``atoll install`` asks at a terminal, as values; ``cli/output/screens.py`` draws it."""
