"""``confusion``: soft confusion matrix."""
