"""Long-running checks that are started by hand, and print the tables that the docs show."""
