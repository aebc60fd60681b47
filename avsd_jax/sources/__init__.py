"""Readers of the owners' files, from which datasets are built."""
