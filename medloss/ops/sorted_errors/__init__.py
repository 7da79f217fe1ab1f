"""``sorted_errors``: errors by rank."""
