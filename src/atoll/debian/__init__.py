"""Packages: bootstrap, apt in a sandbox, what the package database says."""
