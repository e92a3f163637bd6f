"""The deployments of a machine: their state and history, and the operations that change them."""
