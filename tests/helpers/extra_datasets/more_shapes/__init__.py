"""A second small dataset, to be joined with the one of the package."""
