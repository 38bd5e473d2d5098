"""The command line: ``fastdiff sample | train | info``."""
