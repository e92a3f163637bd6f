"""The plan of an installation: the partitions before and after, and all obstacles. Pure."""
