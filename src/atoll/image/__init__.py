"""The files in ``/usr/lib/atoll`` that describe a tree; only this package reads and writes them."""
