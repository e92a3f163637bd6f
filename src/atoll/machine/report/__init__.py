"""A report on a machine for those who are to find out why something does not work."""
