"""A recipe as values, the language it is written in, and templates for new ones."""
