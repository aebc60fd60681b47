"""Reading the owners' files, from which a dataset is built."""
