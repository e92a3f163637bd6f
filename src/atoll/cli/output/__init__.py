"""Output of the verbs: results as text (80 columns) or JSON, progress, and errors."""
