"""Saved files of each release, and what writes them."""
