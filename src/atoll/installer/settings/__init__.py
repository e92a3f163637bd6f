"""A person's settings, and how they become files of the first deployment."""
