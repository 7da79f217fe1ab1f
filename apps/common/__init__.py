"""What the applications share: configuration, run folders, volumes on disk, the training engine and summaries."""
