"""Helpers that tests share: references in NumPy, networks, ways of attaching, processes."""
