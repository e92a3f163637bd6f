"""The disks of a computer: partition tables, file systems, uses. Nothing is written."""
