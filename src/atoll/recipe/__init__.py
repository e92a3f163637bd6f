"""Recipes: the values, the language that they are written in, and templates for new ones."""
