"""Deployments on a machine: installing, booting, and saying what is."""
