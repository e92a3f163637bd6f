"""The pure model of a file hierarchy and its formats. No effects: no files, no processes."""
