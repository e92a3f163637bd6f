"""What is done to disks: the operations of an installation, encryption, and writing a stick."""
