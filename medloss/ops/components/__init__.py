"""``components``: connected components of a binary volume."""
