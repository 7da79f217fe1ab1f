"""Where a drop-in differs from its peer, and a loss from its authors' code: rows that tests prove and pages print."""

from __future__ import annotations

from peer_differences import authors_images, authors_labels, gdl, kornia, monai
from peer_differences.difference import AuthorsDifference, Difference

__all__ = ["AUTHORS_DIFFERENCES", "KNOWN_DIFFERENCES", "AuthorsDifference", "Difference"]

KNOWN_DIFFERENCES: tuple[Difference, ...] = (*monai.DIFFERENCES, *kornia.DIFFERENCES, *gdl.DIFFERENCES)
"""Drop-ins and their peers."""
AUTHORS_DIFFERENCES = tuple(AuthorsDifference(*row) for row in (*authors_labels.ROWS, *authors_images.ROWS))
"""Losses and the code of those who proposed them: segmentation losses, then registration and image losses."""
