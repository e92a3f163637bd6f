"""``atoll capture``: what a program changed in a sandbox, as part of a machine's recipe."""
