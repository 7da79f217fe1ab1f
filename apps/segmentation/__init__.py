"""Segmentation of 3D volumes: train a network with any label loss from YAML, predict masks, evaluate them."""
