"""Clips for training and evaluation, read from built datasets."""
