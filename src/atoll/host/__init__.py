"""Every effect on the machine: processes, mounts, ioctls, files. Knows no format of Atoll."""
