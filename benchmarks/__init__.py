"""What the package costs, beside what a user could take in its place: `python -m benchmarks`."""
