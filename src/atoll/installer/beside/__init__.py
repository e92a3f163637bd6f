"""An installation beside the Debian that runs, and its removal."""
