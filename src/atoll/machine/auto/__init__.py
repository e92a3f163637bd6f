"""Automatic updates: what a machine does by itself, when, and why not."""
