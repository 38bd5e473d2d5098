"""Figures of quality, computed the same way every time."""
