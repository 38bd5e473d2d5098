"""Requests: what people ask of an engine, made into arrays, checked, and run in chunks."""
