"""``distance_map``: exact Euclidean distance."""
