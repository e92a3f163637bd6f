"""Run images in virtual machines, for ``atoll vm`` and ``atoll test``."""
