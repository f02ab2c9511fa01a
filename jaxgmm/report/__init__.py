"""Reports of fits for people to read: text, tables in notebooks, and a page that needs no other file."""

from .pages import page as page
from .text import summary as summary

__all__ = ["page", "summary"]
