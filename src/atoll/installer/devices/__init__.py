"""What a computer has: its disks, their partitions, and what is on them; nothing is written."""
