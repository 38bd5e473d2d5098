"""Backends: one file each; ``registry`` chooses, ``base`` is the contract."""
