"""What verbs print: results as text at 80 columns or as JSON, progress, and errors."""
