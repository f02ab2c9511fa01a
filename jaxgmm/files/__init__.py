"""Fitted mixtures and tables in files."""
