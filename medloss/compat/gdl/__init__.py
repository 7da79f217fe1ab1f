"""geo-deep-learning."""
