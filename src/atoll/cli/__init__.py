"""The command line: one file per verb. It parses arguments, calls a library, prints the result."""
