"""Images tried in a virtual machine."""
