"""``joint_histogram``: joint histogram."""
