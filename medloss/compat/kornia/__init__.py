"""kornia 0.9.0."""
