"""Trained models that come with the package, each ``<name>.safetensors`` with its card."""
