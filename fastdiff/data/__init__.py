"""Data in and pictures out: image sets for training, grids and animations of samples."""
