"""Installing a system on a computer: on a disk, on a partition, or in free space."""
