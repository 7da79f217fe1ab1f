"""``soft_morphology``: erosion, dilation, skeleton."""
