"""Everything that writes to disks: the operations of an installation, encryption, USB sticks."""
