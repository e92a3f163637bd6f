"""Atoll makes and runs image-based Linux systems from Debian packages."""

__version__ = "0.2.0"
