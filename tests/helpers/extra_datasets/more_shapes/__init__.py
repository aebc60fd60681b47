"""A second small dataset, beside the one of the package: to be joined with it."""
