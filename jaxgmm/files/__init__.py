"""Saved fits, and tables of numbers, in files."""
