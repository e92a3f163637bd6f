"""What a tree says of itself below ``/usr/lib/atoll``: read and written here, and nowhere else."""
