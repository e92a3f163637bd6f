"""The deployments of a machine: what is there, what was done, and the operations that change it."""
