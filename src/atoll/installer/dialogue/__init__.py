"""The questions of ``atoll install`` at a terminal; ``cli/output/screens.py`` draws them."""
