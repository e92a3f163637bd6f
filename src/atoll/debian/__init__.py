"""Debian packages: bootstrap, apt in a sandbox, resolution, dpkg's database."""
