"""Folders of maps scored against ground truth, and such evaluations compared."""
