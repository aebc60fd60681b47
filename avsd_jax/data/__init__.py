"""Clips for training and evaluation, read from the prepared datasets."""
