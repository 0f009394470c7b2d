"""TODO: filled by its first tenant."""
