"""Triton kernels, one file an operation; installed as ``fastdiff.kernels``."""
