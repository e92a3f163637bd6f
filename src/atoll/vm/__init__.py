"""Images in virtual machines: ``atoll vm`` and ``atoll test``."""
