"""Passes: each a function from a program to a program that gives the same outputs."""
