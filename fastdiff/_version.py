"""The version of fastdiff; setup.py, CMake and the package all read it from here."""

__version__ = "0.1.0"
