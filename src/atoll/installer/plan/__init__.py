"""Where a system goes, what becomes of each partition, and what stands against it. Pure."""
