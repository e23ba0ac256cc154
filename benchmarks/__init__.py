"""What the package costs, compared with what a user could use instead: `python -m benchmarks`."""
