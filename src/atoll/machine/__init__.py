"""Deployments on a machine: install, upgrade, rollback, garbage collection, status."""
