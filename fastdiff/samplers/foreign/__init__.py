"""Schedulers of diffusers, compiled to tables by watching them (docs/diffusers.md)."""
