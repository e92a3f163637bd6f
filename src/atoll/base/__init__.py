"""Shared basics: errors, digest types, typed fields, progress reports. Imports nothing of Atoll."""
