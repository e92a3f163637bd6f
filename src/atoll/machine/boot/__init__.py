"""What boots: entries of the boot menu, the EFI system partition, and the firmware's variables."""
