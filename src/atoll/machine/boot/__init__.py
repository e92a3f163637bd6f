"""Booting: boot entries, the EFI system partition, and EFI variables."""
